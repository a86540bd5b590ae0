"""GET /v1/audio/stream: what is refused, over HTTP before it begins, with a close code after that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import WSServerHandshakeError

from tests.gateway.conftest import GatewayFactory
from tests.gateway.support_stream import PATH, UPGRADE, busy_slots, stream_at


@pytest.mark.parametrize(
    ("message", "close_code", "code", "param"),
    [
        ("{", 1007, "invalid_request", None),
        ('"hello"', 1007, "invalid_request", None),
        ("[" * 10_000, 1007, "invalid_request", None),
        ('{"text": "\\ud83d"}', 1007, "invalid_request", "text"),
        ("{}", 1008, "invalid_request", None),
        ('{"txet": "hello"}', 1008, "invalid_request", None),
        ('{"text": 1}', 1008, "invalid_request", "text"),
        ('{"text": "a", "flush": 1}', 1008, "invalid_request", "flush"),
        ('{"cancel": "yes"}', 1008, "invalid_request", "cancel"),
        ('{"end": []}', 1008, "invalid_request", "end"),
        ('{"speed": NaN}', 1008, "invalid_request", "speed"),
        ('{"speed": "2"}', 1008, "invalid_request", "speed"),
        ('{"voice": {}}', 1008, "invalid_request", "voice"),
        ('{"model": "a.b"}', 1008, "invalid_request", "model"),
        ('{"model": ["a"]}', 1008, "invalid_request", "model"),
        ('{"format": "midi"}', 1008, "invalid_request", "format"),
        ('{"sample_rate": 1}', 1008, "invalid_request", "sample_rate"),
        ('{"timestamps": "yes"}', 1008, "invalid_request", "timestamps"),
        ('{"text": "hi", "voice": "nobody", "flush": true}', 1008, "unknown_voice", "voice"),
        (json.dumps({"text": "x" * 1001}), 1009, "text_too_long", "text"),
        ('{"text": "hi", "model": "nobody", "flush": true}', 1013, "no_nodes", "model"),
        ('{"text": "fail", "model": "scripted", "flush": true}', 1011, "engine_failed", None),
    ],
)
async def test_every_fault_has_its_close_code(
    speaking: GatewayFactory, message: str, close_code: int, code: str, param: str | None
) -> None:
    async with speaking(stream_buffer_characters=1000) as gateway, stream_at(gateway, format="mp3") as stream:
        await stream.ws.send_str(message)
        marks, _ = await stream.rest()
        error = marks[-1]["error"]
        assert marks[-1] == {"type": "error", "error": error}
        assert (stream.close_code, error["code"], error["param"]) == (close_code, code, param)
        assert stream.reason.startswith(f"{code}: {error['message']}"[:50])
        assert error["type"] == ("invalid_request_error" if close_code < 1010 else "server_error")


async def test_a_binary_message_is_refused(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        await stream.ws.send_bytes(b"hello")
        marks, _ = await stream.rest()
        assert (stream.close_code, marks[-1]["error"]["code"]) == (1003, "invalid_request")


async def test_a_message_beyond_measure_is_refused_before_it_is_read(speaking: GatewayFactory) -> None:
    async with speaking(stream_buffer_characters=1000) as gateway, stream_at(gateway) as stream:
        await stream.ws.send_str("x" * 100_000)
        assert await stream.rest() == ([], b"")
        assert stream.close_code == 1009


async def test_text_after_the_end_is_refused(speaking: GatewayFactory, tmp_path: Path) -> None:
    async with speaking() as gateway, stream_at(gateway, model="scripted", format="mp3") as stream:
        await stream.say(text=f"until {tmp_path / 'never'}", end=True)
        await stream.say(text="one more thing")
        marks, _ = await stream.rest()
        assert (stream.close_code, marks[-1]["error"]["code"]) == (1008, "invalid_request")
        await busy_slots(gateway, "scripted", 0)


async def test_waiting_text_is_bounded_and_not_that_which_is_spoken(
    speaking: GatewayFactory, tmp_path: Path
) -> None:
    async with (
        speaking(stream_buffer_characters=400) as gateway,
        stream_at(gateway, model="scripted", format="mp3") as stream,
    ):
        await stream.say(text=f"until {tmp_path / 'never'}", flush=True)
        await stream.until("segment_started")
        await stream.say(text="x" * 390)
        for _ in range(10):
            await stream.say(flush=True)
        marks, _ = await stream.rest()
        assert (stream.close_code, marks[-1]["error"]["code"]) == (1009, "text_too_long")
        await busy_slots(gateway, "scripted", 0)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"speed": "fast"}, "speed"),
        ({"speed": "nan"}, "speed"),
        ({"sample_rate": "44.1"}, "sample_rate"),
        ({"format": "midi"}, "format"),
        ({"model": "a b"}, "model"),
        ({"timestamps": "1"}, "timestamps"),
        ({"voice": "x" * 201}, "voice"),
    ],
)
async def test_a_bad_query_is_refused_over_http(
    speaking: GatewayFactory, query: dict[str, str], param: str
) -> None:
    async with speaking() as gateway:
        with pytest.raises(WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(PATH, params=query)
        assert refused.value.status == 400
        host = UPGRADE.replace(PATH.encode(), f"{PATH}?{'&'.join(map('='.join, query.items()))}".encode())
        reply = await gateway.raw(host.replace(b"a b", b"a%20b").replace(b": Upgrade", b": Upgrade, close"))
        assert (reply.status, reply.error["param"]) == (400, param)


async def test_a_browser_brings_its_key_as_a_subprotocol(speaking: GatewayFactory) -> None:
    async with speaking(api_keys="sesame") as gateway:
        key = "openai-insecure-api-key.sesame"
        for offers, status in (((), 401), (("a", f"{key}s"), 401), ((key,), 400)):
            with pytest.raises(WSServerHandshakeError) as refused:
                await gateway.http.ws_connect(PATH, protocols=offers)
            assert refused.value.status == status
        async with gateway.http.ws_connect(PATH, protocols=("speech", key)) as ws:
            assert ws.protocol == "speech"
        async with gateway.http.ws_connect(PATH, headers={"Authorization": "Bearer sesame"}) as ws:
            assert ws.protocol is None


async def test_pages_of_other_origins_may_be_kept_out(speaking: GatewayFactory) -> None:
    async with speaking(cors_origins="https://mine.example") as gateway:
        own = gateway.server.url
        for origin in ("https://mine.example", own):
            async with gateway.http.ws_connect(PATH, headers={"Origin": origin}):
                pass
        for origin in ("https://other.example", "null", f"{own}0", "https://mine.example.org"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await gateway.http.ws_connect(PATH, headers={"Origin": origin})
            assert refused.value.status == 403


async def test_no_websocket_and_no_nats_are_answered_over_http(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        async with gateway.http.get(PATH) as reply:
            assert (reply.status, reply.headers["Upgrade"]) == (426, "websocket")
            assert (await reply.json())["error"]["code"] == "upgrade_required"
        async with gateway.http.post(PATH) as reply:
            assert (reply.status, reply.headers["Allow"]) == (405, "GET")
        with pytest.raises(WSServerHandshakeError) as refused:
            await gateway.http.ws_connect(PATH)
        assert refused.value.status == 503
