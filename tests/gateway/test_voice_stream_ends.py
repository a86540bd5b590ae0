"""GET /v1/audio/stream: every way in which it ends, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from antiphon.client import connect
from antiphon.errors import SpeechError
from gateway.http_errors import close_code_of, status_of
from tests.conftest import until
from tests.gateway.support_stream import (
    BYTES_PER_MS,
    GUARD_S,
    MS_PER_CHARACTER,
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
