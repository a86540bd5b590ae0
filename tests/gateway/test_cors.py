"""What browsers ask before they let a page of another origin use the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from antiphon.settings import SettingsError, load
from gateway.config import GatewaySettings
from gateway.cors import Cors, parse_origins

if TYPE_CHECKING:
    from tests.gateway.conftest import GatewayFactory

PAGE = "https://page.example"
ROUTES = [
    ("/tts", "OPTIONS, POST"),
    ("/v1/audio/speech", "OPTIONS, POST"),
    ("/v1/models", "GET, HEAD, OPTIONS"),
    ("/v1/models/tts-1", "GET, HEAD, OPTIONS"),
    ("/v1/audio/models", "GET, HEAD, OPTIONS"),
    ("/v1/audio/voices", "GET, HEAD, OPTIONS"),
    ("/check_tts_status", "GET, HEAD, OPTIONS"),
    ("/healthz", "GET, HEAD, OPTIONS"),
]


def asking(headers: str = "authorization,x-stainless-lang") -> dict[str, str]:
    return {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }


@pytest.mark.parametrize(("path", "methods"), ROUTES)
async def test_a_preflight_is_answered_on_every_path_without_a_key(
    gateway_at: GatewayFactory, path: str, methods: str
) -> None:
    async with (
        gateway_at(api_keys="sk-one") as gateway,
        gateway.http.options(path, headers=asking()) as reply,
    ):
        assert (reply.status, await reply.read()) == (204, b"")
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        assert reply.headers["Access-Control-Allow-Methods"] == reply.headers["Allow"] == methods
        assert reply.headers["Access-Control-Allow-Headers"] == "authorization,x-stainless-lang"
        assert reply.headers["Access-Control-Max-Age"] == "7200"


async def test_options_without_a_question_name_the_methods(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway, gateway.http.options("/tts") as reply:
        assert (reply.status, reply.headers["Allow"]) == (204, "OPTIONS, POST")


async def test_options_of_no_path_are_not_found(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway, gateway.http.options("/none", headers=asking()) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/none", 404),
        ("DELETE", "/tts", 405),
        ("POST", "/v1/audio/speech", 401),
        ("GET", "/check_tts_status", 503),
    ],
)
async def test_a_page_may_read_every_reply_and_the_headers_that_matter(
    gateway_at: GatewayFactory, method: str, path: str, status: int
) -> None:
    async with (
        gateway_at(api_keys="sk-one") as gateway,
        gateway.http.request(method, path, headers={"Origin": PAGE}) as reply,
    ):
        assert reply.status == status
        assert reply.headers["Access-Control-Allow-Origin"] == "*"
        exposed = reply.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"X-Request-Id", "Retry-After", "Retry-After-Ms", "Tts-Audio-Ms", "Tts-Model"} <= set(exposed)


async def test_only_the_origins_of_the_list_may_read(gateway_at: GatewayFactory) -> None:
    async with gateway_at(cors_origins=f"http://localhost:3000, {PAGE}") as gateway:
        async with gateway.http.get("/healthz", headers={"Origin": PAGE}) as reply:
            assert reply.headers["Access-Control-Allow-Origin"] == PAGE
            assert reply.headers["Vary"] == "Origin"
        async with gateway.http.get("/healthz", headers={"Origin": "https://other.example"}) as reply:
            assert (reply.status, reply.headers["Vary"]) == (200, "Origin")
            assert not any(name.startswith("Access-Control") for name in reply.headers)
        async with gateway.http.options("/tts", headers={**asking(), "Origin": "null"}) as reply:
            assert reply.status == 204
            assert not any(name.startswith("Access-Control") for name in reply.headers)
        async with gateway.http.options("/tts", headers=asking()) as reply:
            assert reply.headers["Access-Control-Allow-Origin"] == PAGE
            assert reply.headers.getall("Vary") == ["Access-Control-Request-Headers", "Origin"]


async def test_no_origins_are_no_headers(gateway_at: GatewayFactory) -> None:
    async with gateway_at(cors_origins="") as gateway:
        for method in ("OPTIONS", "POST"):
            async with gateway.http.request(method, "/tts", headers=asking()) as reply:
                assert not any(name.startswith("Access-Control") for name in reply.headers)


def test_an_empty_variable_closes_and_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(GatewaySettings).cors_origins == "*"
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", "")
    assert not Cors(parse_origins(load(GatewaySettings).cors_origins)).allows(PAGE)


@pytest.mark.parametrize("value", ["page.example", f"{PAGE}/", f"{PAGE}/path", f"*,{PAGE}/", "https://"])
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("GATEWAY_CORS_ORIGINS", value)
    with pytest.raises(SettingsError, match=r"^GATEWAY_CORS_ORIGINS: .* is no origin"):
        load(GatewaySettings)
