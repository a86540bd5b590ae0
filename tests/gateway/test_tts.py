"""POST /tts and the status routes, with real nodes behind a real nats-server."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.client import connect
from antiphon.mp3 import with_length
from antiphon.subjects import Subjects
from tests.conftest import NatsServer
from tests.gateway.conftest import Gateway, GatewayFactory
from tests.gateway.support_tts import count_is, error_of, post

MS_PER_CHARACTER = 60


async def test_text_becomes_audio(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        status, headers, audio = await post(gateway, {"text": "ten chars."})
        assert (status, headers["Content-Type"]) == (200, "audio/mpeg")
        assert int(headers["Content-Length"]) == len(audio) > 1000
        assert int(headers["Tts-Audio-Ms"]) == 10 * MS_PER_CHARACTER
        assert int(headers["Tts-Synthesis-Ms"]) >= 0
        assert headers["Tts-Model"] == "tone"
        assert headers["Tts-Node"]
        assert headers["Tts-Id"]
        assert headers["X-Request-Id"]


async def test_a_list_and_plain_text_are_spoken(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        _, headers, _ = await post(gateway, {"text": ["four", "four"]})
        assert int(headers["Tts-Audio-Ms"]) == 8 * MS_PER_CHARACTER
        async with gateway.http.post(
            "/tts", data="ten chars.", headers={"Content-Type": "text/plain"}
        ) as reply:
            assert int(reply.headers["Tts-Audio-Ms"]) == 10 * MS_PER_CHARACTER


async def test_json_holds_the_same_audio(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        _, headers, audio = await post(gateway, {"text": "hello"})
        status, json_headers, body = await post(
            gateway, {"text": "hello", "stream": True}, Accept="application/json"
        )
        values = json.loads(body)
        assert (status, json_headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert base64.b64decode(values["audio_data"], validate=True) == audio
        assert values["audio_ms"] == int(headers["Tts-Audio-Ms"])
        assert (values["format"], values["content_type"], values["model"]) == ("mp3", "audio/mpeg", "tone")


async def test_a_stream_is_the_same_audio_in_chunks(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        _, _, audio = await post(gateway, {"text": "hello" * 20})
        status, headers, streamed = await post(gateway, {"text": "hello" * 20, "stream": True})
        # A whole answer tells its length in its first frame; a stream cannot.
        assert (status, with_length(streamed)) == (200, audio)
        assert headers["Transfer-Encoding"] == "chunked"
        assert "Tts-Audio-Ms" not in headers


async def test_audio_comes_while_it_is_made(speaking: GatewayFactory, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with speaking() as gateway, asyncio.timeout(20):
        values = {"text": f"until {gate}", "model": "scripted", "stream": True}
        async with gateway.http.post("/tts", json=values) as reply:
            assert reply.status == 200
            assert await reply.content.readany()
            gate.touch()
            await reply.read()


async def test_a_long_answer_is_streamed_from_its_bound_on(speaking: GatewayFactory) -> None:
    async with speaking(hold_bytes=2000) as gateway:
        status, headers, audio = await post(gateway, {"text": "hello" * 20})
        assert (status, headers["Transfer-Encoding"]) == (200, "chunked")
        assert len(audio) > 2000
        status, _, body = await post(gateway, {"text": "hello" * 20}, Accept="application/json")
        assert (status, error_of(body)["code"]) == (400, "audio_too_large")


async def test_status_tells_who_speaks(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        async with gateway.http.get("/check_tts_status") as reply:
            values = await reply.json()
            assert (reply.status, reply.headers["Cache-Control"]) == (200, "no-store")
        assert (values["status"], values["nodes"], values["slots"], values["busy"]) == (True, 2, 3, 0)
        assert values["models"].keys() == {"scripted", "tone"}
        assert {worker["model"] for worker in values["workers"]} == {"scripted", "tone"}
        async with gateway.http.get("/count") as reply:
            assert (await reply.text(), reply.content_type) == ("0", "text/plain")
        async with gateway.http.get("/readyz") as reply:
            assert (reply.status, await reply.json()) == (200, {"status": "ready"})


async def test_gateways_side_by_side_share_the_nodes(speaking: GatewayFactory, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    busy = {"text": f"until {gate}", "model": "scripted", "stream": True}
    async with (
        speaking() as left,
        speaking() as right,
        asyncio.timeout(20),
        left.http.post("/tts", json=busy) as reply,
    ):
        waiting = asyncio.create_task(post(right, {"text": "hi", "model": "scripted"}))
        await count_is(left, 1)
        gate.touch()
        await reply.read()
        assert (await waiting)[0] == 200
        await count_is(left, 0)


async def test_readiness_follows_nats_and_requests_wait_for_it(
    gateway_at: GatewayFactory, own_nats_server: NatsServer, subjects: Subjects
) -> None:
    async with (
        asyncio.timeout(20),
        connect(own_nats_server.url, subjects=subjects, reconnect_wait_s=0.02) as client,
        gateway_at() as gateway,
    ):
        gateway.link.set(client)
        await readyz_says(gateway, 503, "no_nodes")
        own_nats_server.stop(signal.SIGKILL)
        await readyz_says(gateway, 503, "not_connected")
        async with gateway.http.get("/healthz") as reply:
            assert reply.status == 200
        async with gateway.http.get("/check_tts_status") as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (503, "not_connected")
        own_nats_server.start()
        await readyz_says(gateway, 503, "no_nodes")


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)


_values = (
    _scalars | st.lists(_scalars, max_size=3) | st.dictionaries(st.text(max_size=5), _scalars, max_size=2)
)


_keys = st.sampled_from(["text", "voice", "speed", "format", "sample_rate", "stream", "other"])


@settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(values=st.dictionaries(_keys, _values, max_size=4))
async def test_no_json_is_a_fault_of_the_server(one_gateway: Gateway, values: dict[str, Any]) -> None:
    for body in (values, {"text": "hi", **values}):
        status, _, reply = await post(one_gateway, body)
        assert status in (200, 400), reply


@pytest.fixture
async def one_gateway(speaking: GatewayFactory) -> AsyncIterator[Gateway]:
    async with speaking() as gateway:
        yield gateway


async def readyz_says(gateway: Gateway, status: int, code: str) -> None:
    seen: tuple[int, str] = (0, "")
    while seen != (status, code):
        async with gateway.http.get("/readyz") as reply:
            seen = reply.status, (await reply.json()).get("error", {}).get("code", "")
