"""GET /v1/audio/stream: a cancel is silent at once, and forgets what waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.conftest import until
from tests.gateway.conftest import GatewayFactory
from tests.gateway.support_stream import (
    BYTES_PER_MS,
    GUARD_S,
    busy_slots,
    frame,
    kinds,
    slow_client,
    spoken,
    stream_at,
)

CANCEL_S = 0.3


async def test_a_cancel_is_silent_at_once_and_frees_the_slot(
    speaking: GatewayFactory, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    async with speaking() as gateway, stream_at(gateway, model="scripted") as stream:
        await stream.say(text=f"until {tmp_path / 'never'}", flush=True)
        await stream.say(text="Never to be heard. Nor this", flush=True)
        while not isinstance(await stream.next(), bytes):
            pass
        begin = loop.time()
        await stream.say(cancel=True)
        await stream.until("cancelled")
        await busy_slots(gateway, "scripted", 0)
        assert loop.time() - begin < 10 * CANCEL_S  # some milliseconds, unless the machine is loaded
        await stream.say(text="On we go.", end=True)
        marks, audio = await stream.rest()
        assert spoken(marks) == ["On we go."]
        assert len(audio) == BYTES_PER_MS * 2000
        assert marks[-1]["audio_ms"] == 2000


async def test_a_cancel_does_not_come_behind_seconds_of_audio(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, asyncio.timeout(GUARD_S):
        traffic = gateway.link.client.connection.nc.stats
        before = traffic["in_bytes"]
        reader, writer = await slow_client(gateway)
        writer.write(frame(text="x" * 480, flush=True))
        await until(lambda: traffic["in_bytes"] > before + 500_000, "audio for a client that stalls")
        writer.write(frame(cancel=True))
        data = b""
        while b'"cancelled"}' not in data:
            data += await reader.read(4096)
        writer.close()
        assert len(data) < 2 * BYTES_PER_MS * 1000, "too much was on its way"


async def test_a_cancel_forgets_the_text_that_waits(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        await stream.say(text="half a sent")
        await stream.say(cancel=True, text="Another one. ", end=True)
        marks, _ = await stream.rest()
        assert marks[0] == {"type": "cancelled"}
        assert marks[1] == {"type": "segment_started", "segment": 0, "text": "Another one.", "offset": 11}
        assert marks[-1]["segments"] == 1


async def test_a_cancel_after_the_end_ends_the_stream(speaking: GatewayFactory, tmp_path: Path) -> None:
    async with speaking() as gateway, stream_at(gateway, model="scripted") as stream:
        await stream.say(text=f"until {tmp_path / 'never'}", end=True)
        await stream.until("segment_started")
        await stream.say(cancel=True)
        marks, _ = await stream.rest()
        assert (kinds(marks), stream.close_code) == (["cancelled", "done"], 1000)
        await busy_slots(gateway, "scripted", 0)


async def test_cancels_in_a_row_are_each_answered(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        for n in range(20):
            await stream.say(text=f"Sentence {n} is begun. And then")
            await stream.say(cancel=True)
        await stream.say(end=True)
        marks, _ = await stream.rest()
        assert kinds(marks).count("cancelled") == 20
        last = max(n for n, mark in enumerate(marks) if mark["type"] == "cancelled")
        assert kinds(marks[last:]) == ["cancelled", "done"]
        await busy_slots(gateway, "tone", 0)
