"""How a stream gets to its caller: the window, the backlog and its bounds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from nats.aio.msg import Msg

from antiphon.background import background
from antiphon.connection import connected
from antiphon.errors import EngineFailed, UnknownVoice
from antiphon.events import MAX_CHUNK_BYTES, Accepted, AudioChunk, End, Event, Failure, Progress, decode_event
from synth_node.delivery import Buffer
from synth_node.stream_delivery import StreamDelivery
from tests.synth_node.conftest import GUARD_S, RawCaller, soon

KIB = 1024


class Stream:
    """A delivery, and the events that came of it so far."""

    def __init__(self, delivery: StreamDelivery, nc: Any) -> None:
        self.delivery = delivery
        self.events: list[Event] = []
        self._nc = nc

    async def on_message(self, msg: Msg) -> None:
        run, event = decode_event(msg.data)
        assert (run, msg.reply) == ("r1", "node.inbox")
        self.events.append(event)

    @property
    def n_bytes(self) -> int:
        """Audio that came."""
        return sum(len(event.audio) for event in self.events if isinstance(event, AudioChunk))

    async def came(self, n_bytes: int) -> None:
        """Wait for so much audio, and for whatever more comes with it."""
        await soon(lambda: self.n_bytes >= n_bytes, f"{n_bytes} bytes come")
        await self.delivery.progress()
        n_seen = sum(isinstance(event, Progress) for event in self.events)
        await soon(lambda: sum(isinstance(e, Progress) for e in self.events) > n_seen, "all has come")

    async def ended(self) -> Event:
        """Wait for the last event."""
        await soon(lambda: bool(self.events) and isinstance(self.events[-1], End | Failure), "its end")
        return self.events[-1]


Open = Callable[..., Any]


@pytest.fixture
async def stream(nats_url: str, raw: RawCaller) -> AsyncIterator[Open]:
    """Return a function that makes a delivery to a raw caller."""
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection, background() as spawn:

        async def make(
            *, window: int = 256 * KIB, buffer_bytes: int = 10**9, buffer: Buffer | None = None
        ) -> Stream:
            subject = raw.nc.new_inbox()
            delivery = StreamDelivery(
                *(connection.nc, spawn, buffer or Buffer(10**9)),
                run="r1",
                subject=subject,
                reply="node.inbox",
                window=window,
                buffer_bytes=buffer_bytes,
            )
            made = Stream(delivery, connection.nc)
            await raw.nc.subscribe(subject, cb=made.on_message)
            await raw.nc.flush()
            await raw.nc.flush()
            return made

        yield make


# -- streams


async def test_events_come_as_they_are_made(stream: Open) -> None:
    made = await stream()
    await made.delivery.accept("n", 3, "m")
    await made.delivery.audio(b"ab")
    await made.delivery.audio(b"c")
    await made.delivery.end(audio_ms=5, synthesis_ms=7)
    assert await made.ended() == End({"n": 2, "bytes": 3, "audio_ms": 5, "synthesis_ms": 7})
    assert made.events[:-1] == [Accepted("n", 3, "m"), AudioChunk(0, b"ab"), AudioChunk(1, b"c")]
    assert made.delivery.is_complete


async def test_long_audio_is_cut_into_chunks(stream: Open) -> None:
    made = await stream(window=10**9)
    await made.delivery.audio(b"x" * (2 * MAX_CHUNK_BYTES + 1))
    await made.delivery.end(audio_ms=1, synthesis_ms=1)
    end = await made.ended()
    assert [len(event.audio) for event in made.events[:-1]] == [MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 1]
    assert end.n_chunks == 3


async def test_the_window_bounds_what_is_unacknowledged(stream: Open) -> None:
    made = await stream(window=100 * KIB)
    for _ in range(10):
        await made.delivery.audio(b"x" * 40 * KIB)
    await made.delivery.end(audio_ms=1, synthesis_ms=1)
    await made.came(80 * KIB)
    assert made.n_bytes == 80 * KIB
    assert not made.delivery.is_complete
    made.delivery.credit(20 * KIB - 1, None)
    await made.came(80 * KIB)
    assert made.n_bytes == 80 * KIB, "a byte too little"
    made.delivery.credit(1, None)
    await made.came(120 * KIB)
    assert made.n_bytes == 120 * KIB
    while not made.delivery.is_complete:
        made.delivery.credit(0, made.n_bytes)
        await asyncio.sleep(0.001)
    assert (await made.ended()).n_bytes == made.n_bytes == 400 * KIB
    chunks = [event.seq for event in made.events if isinstance(event, AudioChunk)]
    assert chunks == list(range(10))


async def test_a_credit_for_more_than_was_sent_widens_no_window(stream: Open) -> None:
    made = await stream(window=100 * KIB)
    made.delivery.credit(10**9, None)
    made.delivery.credit(10**9, 10**9)
    for _ in range(5):
        await made.delivery.audio(b"x" * 40 * KIB)
    await made.came(80 * KIB)
    assert made.n_bytes == 80 * KIB
    made.delivery.close()


async def test_a_total_makes_a_lost_credit_good(stream: Open) -> None:
    made = await stream(window=100 * KIB)
    for _ in range(4):
        await made.delivery.audio(b"x" * 40 * KIB)
    await made.came(80 * KIB)
    made.delivery.credit(5, 80 * KIB)  # those before it never came
    await made.came(160 * KIB)
    made.delivery.credit(5, 10 * KIB)  # and one that is late takes nothing back
    await made.delivery.delivered()


async def test_a_window_smaller_than_a_chunk_lets_one_out_at_a_time(stream: Open) -> None:
    made = await stream(window=1)
    await made.delivery.audio(b"x" * 3 * KIB)
    await made.delivery.audio(b"y")
    await made.came(3 * KIB)
    assert made.n_bytes == 3 * KIB
    made.delivery.credit(3 * KIB, None)
    await made.came(3 * KIB + 1)


async def test_the_engine_waits_while_its_callers_room_is_full(stream: Open) -> None:
    made = await stream(window=1, buffer_bytes=100 * KIB)
    for _ in range(3):
        await made.delivery.audio(b"x" * 50 * KIB)  # one is out, two have room
    waiting = asyncio.create_task(made.delivery.audio(b"x" * 50 * KIB))
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    made.delivery.credit(50 * KIB, None)
    await asyncio.wait_for(waiting, GUARD_S)
    made.delivery.close()


async def test_the_room_of_all_runs_together_is_bounded(stream: Open) -> None:
    buffer = Buffer(100 * KIB)
    one, two = await stream(window=1, buffer=buffer), await stream(window=1, buffer=buffer)
    for each in (one, two):
        await each.delivery.audio(b"x" * 40 * KIB)
        await each.delivery.audio(b"x" * 40 * KIB)
    waiting = asyncio.create_task(two.delivery.audio(b"x" * 40 * KIB))
    await asyncio.wait({waiting}, timeout=0.05)
    assert not waiting.done()
    one.delivery.close()
    await asyncio.wait_for(waiting, GUARD_S)
    two.delivery.close()
    assert not buffer.is_full


async def test_a_closed_delivery_says_nothing_more_and_keeps_nobody_waiting(stream: Open) -> None:
    made = await stream(window=1, buffer_bytes=1)
    await made.delivery.audio(b"x" * KIB)
    waiting = asyncio.create_task(made.delivery.audio(b"y" * KIB))
    await made.came(KIB)
    made.delivery.close()
    await asyncio.wait_for(waiting, GUARD_S)
    await asyncio.wait_for(made.delivery.delivered(), GUARD_S)
    n_events = len(made.events)
    await made.delivery.audio(b"z")
    await made.delivery.end(audio_ms=1, synthesis_ms=1)
    await made.delivery.progress()
    made.delivery.credit(10**9, None)
    assert made.delivery.is_complete
    assert len(made.events) == n_events


async def test_a_failure_takes_the_place_of_what_was_not_sent(stream: Open) -> None:
    made = await stream(window=1)
    for _ in range(3):
        await made.delivery.audio(b"x" * KIB)
    await made.delivery.fail(UnknownVoice("no such\r\n voice", param="voice"))
    assert await made.ended() == Failure("unknown_voice", "no such voice", "voice")
    assert made.n_bytes == KIB


async def test_a_failures_text_fits_any_message(stream: Open) -> None:
    made = await stream()
    await made.delivery.fail(EngineFailed("模" * 10**6))
    failure = await made.ended()
    assert 0 < len(failure.text) < 1000
