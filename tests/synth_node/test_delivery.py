"""How audio gets to its caller: the window, the backlog and its bounds, and plain replies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from nats.aio.msg import Msg

from antiphon.background import background
from antiphon.connection import connected
from antiphon.errors import AudioTooLarge, EngineFailed, UnknownVoice
from antiphon.events import MAX_CHUNK_BYTES, Accepted, AudioChunk, End, Event, Failure, Progress, decode_event
from synth_node.delivery import Buffer
from synth_node.plain_delivery import PlainDelivery
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


# -- plain replies


async def plain(raw: RawCaller, nc: Any) -> tuple[PlainDelivery, asyncio.Queue[Msg]]:
    """Return a delivery, and a queue of what came of it."""
    got: asyncio.Queue[Msg] = asyncio.Queue()

    async def on_message(msg: Msg) -> None:
        got.put_nowait(msg)

    subject = raw.nc.new_inbox()
    await raw.nc.subscribe(subject, cb=on_message)
    await raw.nc.flush()
    await raw.nc.flush()
    return PlainDelivery(nc, subject=subject, id="id-1", format="wav", node="n1"), got


async def test_a_plain_reply_is_one_message(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        await delivery.accept("n1", 0, "m")
        for piece in (b"ab", b"c"):
            await delivery.audio(piece)
        delivery.credit(5, None)
        await delivery.end(audio_ms=5, synthesis_ms=7)
        msg = await asyncio.wait_for(got.get(), GUARD_S)
    assert msg.data == b"abc"
    assert msg.headers == {
        "Content-Type": "audio/wav",
        "Tts-Id": "id-1",
        "Tts-Node": "n1",
        "Tts-Audio-Ms": "5",
        "Tts-Synthesis-Ms": "7",
    }
    assert delivery.is_complete
    assert got.empty()


async def test_a_plain_failure_is_headers_only(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        await delivery.audio(b"half")
        await delivery.fail(UnknownVoice("no\r\nsuch: voice " + "模" * 10_000))
        msg = await asyncio.wait_for(got.get(), GUARD_S)
    assert msg.data == b""
    assert msg.headers is not None
    text = msg.headers.pop("Nats-Service-Error")
    assert text.startswith("no such: voice 模")
    assert len(text) <= 400
    assert msg.headers == {
        "Nats-Service-Error-Code": "400",
        "Tts-Error": "unknown_voice",
        "Tts-Id": "id-1",
        "Tts-Node": "n1",
    }


async def test_a_failure_without_a_text_still_says_something(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        await delivery.fail(EngineFailed())
        msg = await asyncio.wait_for(got.get(), GUARD_S)
    assert msg.headers is not None
    assert msg.headers["Nats-Service-Error"] == "engine_failed"


async def test_what_one_message_cannot_carry_is_refused(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        limit = connection.nc.max_payload - 1024
        await delivery.audio(b"x" * limit)
        with pytest.raises(AudioTooLarge, match="Tts-Reply: stream"):
            await delivery.audio(b"x")
        await delivery.fail(AudioTooLarge("too large"))
        msg = await asyncio.wait_for(got.get(), GUARD_S)
        assert msg.data == b""
        delivery, got = await plain(raw, connection.nc)
        await delivery.audio(b"x" * limit)
        await delivery.end(audio_ms=10**12, synthesis_ms=10**12)
        assert len((await asyncio.wait_for(got.get(), GUARD_S)).data) == limit
        assert connection.nc.is_connected


async def test_a_closed_plain_delivery_says_nothing(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        delivery.close()
        await delivery.end(audio_ms=1, synthesis_ms=1)
        await delivery.fail(EngineFailed("no"))
        await connection.nc.flush()
        await raw.nc.flush()
    assert got.empty()
