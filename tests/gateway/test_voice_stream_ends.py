"""GET /v1/audio/stream: every way in which it ends or is refused, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import WSServerHandshakeError

from antiphon.client import connect
from antiphon.errors import SpeechError
from gateway.http_errors import close_code_of, status_of
from tests.conftest import until
from tests.gateway.support_stream import (
    BYTES_PER_MS,
    GUARD_S,
    MS_PER_CHARACTER,
    PATH,
    UPGRADE,
    busy_slots,
    frame,
    kinds,
    slow_client,
    stream_at,
)

if TYPE_CHECKING:
    from antiphon.subjects import Subjects
    from tests.conftest import NatsServer
    from tests.gateway.conftest import GatewayFactory

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "websocket.md"


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


async def test_a_failure_waits_for_its_turn(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway, format="mp3") as stream:
        await stream.say(text="This one is fine. " * 3)
        await stream.say(voice="nobody", text="This one is not. And no more of it. ", end=True)
        marks, _ = await stream.rest()
        assert kinds(marks) == ["segment_started", "segment_finished"] * 3 + ["error"]
        assert (stream.close_code, marks[-1]["error"]["code"]) == (1008, "unknown_voice")


async def test_who_finds_no_slot_is_told_when_to_come_again(speaking: GatewayFactory, tmp_path: Path) -> None:
    endless = {"text": f"until {tmp_path / 'never'}", "flush": True}
    async with (
        speaking(wait_s=0.1) as gateway,
        stream_at(gateway, model="scripted", format="mp3") as busy,
        stream_at(gateway, model="scripted", format="mp3") as late,
    ):
        await busy.say(**endless)
        await busy.until("segment_started")
        await late.say(**endless)
        marks, _ = await late.rest()
        assert (late.close_code, marks[-1]["error"]["code"]) == (1013, "all_slots_busy")


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


async def test_a_lost_nats_server_ends_the_stream(
    gateway_at: GatewayFactory, own_nats_server: NatsServer, subjects: Subjects
) -> None:
    async with (
        connect(own_nats_server.url, subjects=subjects, reconnect_wait_s=0.02) as client,
        gateway_at(model="tone", wait_s=0.1) as gateway,
    ):
        gateway.link.set(client)
        async with stream_at(gateway, format="mp3") as stream:
            own_nats_server.stop()
            await stream.say(text="Is anybody there?", flush=True)
            marks, _ = await stream.rest()
            assert (stream.close_code, marks[-1]["error"]["code"]) == (1013, "not_connected")


async def test_a_fault_of_ours_is_1011(gateway_at: GatewayFactory, caplog: pytest.LogCaptureFixture) -> None:
    async with gateway_at() as gateway:
        gateway.link.set(object())  # type: ignore[arg-type]
        async with stream_at(gateway) as stream:
            await stream.say(text="hello", flush=True)
            marks, _ = await stream.rest()
            assert (stream.close_code, marks[-1]["error"]["code"]) == (1011, "internal")
            assert "AttributeError" not in json.dumps(marks)


async def test_a_stream_on_which_nothing_is_said_ends(speaking: GatewayFactory, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with (
        speaking(stream_idle_s=0.1) as gateway,
        stream_at(gateway, model="scripted", format="mp3") as stream,
    ):
        await stream.say(text=f"until {gate}", flush=True)
        n_bytes = 0
        while n_bytes < 40_000:  # some five seconds of audio, made in one
            item = await stream.next()
            n_bytes += len(item) if isinstance(item, bytes) else 0
        gate.touch()
        marks, _ = await stream.rest()
        assert (kinds(marks), stream.close_code) == (["segment_finished", "flushed"], 1001)


@pytest.mark.parametrize("in_order", [False, True])
async def test_a_client_that_leaves_frees_its_slot(
    speaking: GatewayFactory, tmp_path: Path, *, in_order: bool
) -> None:
    async with speaking() as gateway, stream_at(gateway, model="scripted", format="mp3") as stream:
        for _ in range(3):
            await stream.say(text=f"until {tmp_path / 'never'}", flush=True)
        await stream.until("segment_started")
        if in_order:
            await stream.ws.close()
        else:
            transport = stream.ws.get_extra_info("socket")
            assert transport is not None
            stream.ws._response.connection.transport.abort()  # type: ignore[union-attr]
        await busy_slots(gateway, "scripted", 0)


async def test_a_client_that_never_reads_is_held_in_bounds_and_cut_off(speaking: GatewayFactory) -> None:
    async with speaking(send_timeout_s=0.2, grace_s=GUARD_S) as gateway, asyncio.timeout(GUARD_S):
        traffic = gateway.link.client.connection.nc.stats
        before = traffic["in_bytes"]
        _, writer = await slow_client(gateway)
        writer.write(40 * frame(text="x" * 480, flush=True))
        await until(lambda: traffic["in_bytes"] > before + 100_000, "audio for a client that stalls")
        await gateway.server.drain()  # waits until the connection is cut off
        writer.close()
        n_bytes = 40 * 480 * MS_PER_CHARACTER * BYTES_PER_MS
        assert traffic["in_bytes"] - before < n_bytes / 4
        while (await gateway.link.client.status()).busy:
            pass


async def test_a_drain_finishes_what_has_come_and_takes_no_more(
    speaking: GatewayFactory, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    async with (
        speaking(grace_s=GUARD_S) as gateway,
        stream_at(gateway) as idle,
        stream_at(gateway, model="scripted", format="mp3") as stream,
    ):
        await stream.say(text=f"until {gate}", flush=True)
        await stream.say(text="One more. And half a")
        await stream.until("segment_started")
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(gateway.server.drain())
            assert (await idle.rest(), idle.close_code) == (([], b""), 1001)
            await stream.say(text=" sentence. ", flush=True)
            gate.touch()
            marks, _ = await stream.rest()
            assert kinds(marks) == ["segment_finished", "flushed", "segment_started", "segment_finished"]
            assert (stream.close_code, marks[2]["text"]) == (1001, "One more.")
            assert "connect again" in stream.reason
            await draining


async def test_the_end_of_the_grace_is_said(speaking: GatewayFactory, tmp_path: Path) -> None:
    async with speaking(grace_s=0.5) as gateway, stream_at(gateway, model="scripted", format="mp3") as stream:
        await stream.say(text=f"until {tmp_path / 'never'}", flush=True)
        await stream.until("segment_started")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gateway.server.drain())
            assert kinds((await stream.rest())[0]) == []
            assert stream.close_code == 1001
    async with speaking() as gateway:
        await busy_slots(gateway, "scripted", 0)


def test_close_codes_say_who_is_to_blame() -> None:
    for kind in SpeechError.codes().values():
        expected = 1013 if kind.retryable else 1008 if status_of(kind()) < 500 else 1011
        assert close_code_of(kind()) == expected


def test_every_close_code_has_its_line() -> None:
    text = REFERENCE.read_text()
    codes = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1011, 1013}
    assert all(f"\n| {code} |" in text for code in codes)
