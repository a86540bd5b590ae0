"""API keys: what they open, how they are given, and that nobody ever sees one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.test_utils import make_mocked_request

from antiphon.settings import SettingsError, load
from gateway.config import GatewaySettings
from gateway.keys import key_of, subprotocols

if TYPE_CHECKING:
    from tests.gateway.conftest import GatewayFactory

KEYS = "sk-one, sk-two"
SPEAKING = ["/tts", "/v1/audio/speech"]
OPEN = ["/v1/models", "/v1/audio/models", "/v1/models/tts-1", "/healthz", "/health", "/count"]


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("path", SPEAKING)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("sk-three"),
        bearer("sk-one, sk-two"),
        bearer("sk-on"),
        bearer("sk-onee"),
        bearer("ключ"),
        {"Authorization": "Basic sk-one"},
        {"Authorization": "sk-one"},
        {"Sec-WebSocket-Protocol": "openai-insecure-api-key.sk-three"},
    ],
)
async def test_without_a_right_key_nobody_speaks(
    gateway_at: GatewayFactory, path: str, headers: dict[str, str]
) -> None:
    async with (
        gateway_at(api_keys=KEYS) as gateway,
        gateway.http.post(path, json={"text": "hi", "input": "hi"}, headers=headers) as reply,
    ):
        error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (401, "invalid_api_key")
        assert error.keys() == {"message", "type", "param", "code"}
        assert "sk-" not in error["message"]
        assert reply.headers["WWW-Authenticate"] == "Bearer"
        assert reply.headers["X-Request-Id"]


@pytest.mark.parametrize("path", SPEAKING)
@pytest.mark.parametrize(
    "headers",
    [
        bearer("sk-one"),
        bearer("sk-two"),
        {"Authorization": "bearer  sk-two "},
        {"Sec-WebSocket-Protocol": "realtime, openai-insecure-api-key.sk-one"},
    ],
)
async def test_each_key_opens(gateway_at: GatewayFactory, path: str, headers: dict[str, str]) -> None:
    async with (
        gateway_at(api_keys=KEYS) as gateway,
        gateway.http.post(path, json={"text": "hi", "input": "hi"}, headers=headers) as reply,
    ):
        assert reply.status == 503, "let in, it finds no connection to NATS"


@pytest.mark.parametrize("path", OPEN)
async def test_lists_and_status_need_no_key(gateway_at: GatewayFactory, path: str) -> None:
    async with gateway_at(api_keys=KEYS) as gateway, gateway.http.get(path) as reply:
        assert reply.status in (200, 503)
        assert path == "/count" or reply.status == 200


@pytest.mark.parametrize("headers", [{}, bearer(""), bearer("whatever")])
async def test_without_keys_everyone_may_come(gateway_at: GatewayFactory, headers: dict[str, str]) -> None:
    async with (
        gateway_at() as gateway,
        gateway.http.post("/v1/audio/speech", json={"input": "hi"}, headers=headers) as reply,
    ):
        assert reply.status == 503


async def test_keys_are_never_logged(gateway_at: GatewayFactory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with gateway_at(api_keys=KEYS, access_log=True) as gateway:
        for key in ("sk-one", "sk-wrong"):
            async with gateway.http.post("/tts", json={"text": "hi"}, headers=bearer(key)) as reply:
                assert reply.status in (401, 503)
    assert "sk-" not in caplog.text


def test_the_key_of_a_websocket_is_no_subprotocol_to_answer_with() -> None:
    offered = {"Sec-WebSocket-Protocol": "realtime,openai-insecure-api-key.sk-one, v1"}
    request = make_mocked_request("GET", "/v1/audio/stream", headers=offered)
    assert key_of(request) == "sk-one"
    assert subprotocols(request) == ("realtime", "v1")


# -- settings


def test_keys_come_from_the_variable_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "keys"
    file.write_text("sk-three\n\n  sk-four \n")
    monkeypatch.setenv("GATEWAY_API_KEYS", "sk-one,, sk-two")
    monkeypatch.setenv("GATEWAY_API_KEYS_FILE", str(file))
    assert load(GatewaySettings).keys() == ["sk-one", "sk-two", "sk-three", "sk-four"]


def test_no_keys_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_API_KEYS", "")
    assert load(GatewaySettings).keys() == []


def test_settings_do_not_show_the_keys() -> None:
    settings = GatewaySettings(api_keys=KEYS)  # type: ignore[arg-type]
    assert "sk-one" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@pytest.mark.parametrize("value", [",", " , ,", "sk-one,with space", "sk-ключ"])
def test_keys_that_would_open_to_all_or_to_nobody_are_refused(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("GATEWAY_API_KEYS", value)
    with pytest.raises(SettingsError) as caught:
        load(GatewaySettings)
    assert str(caught.value).startswith("GATEWAY_API_KEYS: ")
    assert "sk-" not in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"sk one", b"\xff"])
def test_a_file_without_keys_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    values: dict[str, Any] = {"api_keys_file": str(file)}
    with pytest.raises(SettingsError, match=r"^GATEWAY_API_KEYS_FILE: ") as caught:
        GatewaySettings(**values).keys()
    assert "sk" not in str(caught.value).replace(str(file), "")
