"""The caller's side of one run: its events in order, flow control, and noticing that the node died."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import nats.errors

from antiphon.connection import Connection
from antiphon.errors import RunLost, SpeechError
from antiphon.events import AudioChunk, End, Event, Failure, Progress, Segment, Words
from antiphon.feedback import Cancel, Credit, encode_cancel, encode_credit
from antiphon.request import DEFAULT_WINDOW_BYTES
from antiphon.subjects import Subjects, service


@dataclass(frozen=True, slots=True)
class Timing:
    """Bounds on what a caller waits for, in seconds."""

    accept_min_s: float = 0.05
    accept_max_s: float = 0.5
    silence_s: float = 0.5
    """Silence on a stream after which the node is asked whether it lives."""
    ping_s: float = 1.0
    """A node that does not answer within this time is frozen."""
    silences: int = 3
    """Silences in a row, each answered by the node, after which the run itself is lost."""
    pace_s: float = 0.005
    """The next in the queue tries when the one before it has had no answer for this long."""
    retry_s: float = 1.0
    """A queue tries again after this time even if nobody announced a free slot."""
    status_s: float = 0.25
    """Bound on a round of status replies."""
    settle_s: float = 2.0
    """Time of being connected after which a missing heartbeat means that there is no node."""


class Run:
    """One accepted run, as its caller sees it.

    id: random, made by the node. node, slot: who is in charge. model: of the node; None if it does not tell.
    end: set when the audio is complete.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        timing: Timing,
        *,
        id: str,
        node: str,
        slot: int,
        model: str | None = None,
    ) -> None:
        self.id = id
        self.model = model
        self.node = node
        self.slot = slot
        self.end: End | None = None
        self.over = False
        self._connection = connection
        self._subjects = subjects
        self._timing = timing
        self._events: deque[Event] = deque()
        self._waiter: asyncio.Future[bool] | None = None

    def feed(self, event: Event) -> None:
        """Take in the next event of the run."""
        if isinstance(event, End | Failure):
            self.over = True
        self._events.append(event)
        if self._waiter is not None:
            _wake(self._waiter, True)

    async def audio(self) -> AsyncGenerator[bytes, None]:
        """Yield the run's audio alone; see `events`."""
        async with aclosing(self.events()) as events:
            async for event in events:
                if isinstance(event, AudioChunk):
                    yield event.audio

    async def events(self) -> AsyncGenerator[AudioChunk | Segment | Words, None]:
        """Yield the run's audio in order, and what is told of it; set `end` when it is complete.

        The node sends on as chunks are taken, so a slow consumer slows its own run only.

        Raises:
            RunLost: the node is dead or frozen, or a part of the stream is missing.
            SpeechError: what the node reports.
        """
        n_chunks = n_bytes = uncredited = 0
        while True:
            match await self._next_event():
                case AudioChunk(seq, audio) as chunk:
                    if seq != n_chunks:
                        raise RunLost(f"chunk {seq} came where {n_chunks} was due")
                    n_chunks += 1
                    n_bytes += len(audio)
                    yield chunk
                    uncredited += len(audio)
                    if uncredited >= DEFAULT_WINDOW_BYTES // 4:
                        await self._grant(uncredited, n_bytes)
                        uncredited = 0
                case End() as end:
                    if (end.n_chunks, end.n_bytes) != (n_chunks, n_bytes):
                        raise RunLost(f"{n_bytes} of {end.n_bytes} bytes came")
                    self.end = end
                    return
                case Failure(code, text, param):
                    raise SpeechError.from_code(code, text, param=param)
                case (Segment() | Words()) as told:
                    yield told
                case Progress():
                    # No audio comes: perhaps a credit was lost with a connection. The total is always right.
                    await self._grant(uncredited, n_bytes)
                    uncredited = 0
                case _:
                    pass  # a repeated accepted, or an event of a newer version

    async def cancel(self) -> None:
        """Tell the node that nobody listens any more."""
        if not self.over:
            self.over = True
            await self._publish(self._subjects.cancel(self.node), encode_cancel(Cancel(self.id)))

    async def _grant(self, n_bytes: int, total: int) -> None:
        if total:
            credit = encode_credit(Credit(self.id, n_bytes, total))
            await self._publish(self._subjects.credit(self.node), credit)

    async def _publish(self, subject: str, payload: bytes) -> None:
        # Without a connection the node finds out by itself that nobody listens.
        with suppress(nats.errors.Error):
            await self._connection.nc.publish(subject, payload)

    async def _next_event(self) -> Event:
        silences = 0
        while not self._events:
            if await self._something_came():
                break
            silences += 1
            lost = await self._fault_of_node()
            if lost is None and silences > self._timing.silences:
                lost = f"node {self.node} lives but sends nothing more of this run"
            if lost is not None and not self._events:
                raise RunLost(lost)
        return self._events.popleft()

    async def _something_came(self) -> bool:
        """Wait for the next event; False after a silence."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        silence = loop.call_later(self._timing.silence_s, _wake, waiter, False)
        try:
            return await waiter
        finally:
            silence.cancel()
            self._waiter = None

    async def _fault_of_node(self) -> str | None:
        """Ask the node whether it lives; say what is wrong with it, or None."""
        connection, timing = self._connection, self._timing
        await connection.established()
        try:
            await connection.nc.request(service("PING", self.node), b"", timeout=timing.ping_s)
        except nats.errors.NoRespondersError:
            # Right after a restart of the server the node may not be back yet.
            return f"node {self.node} is dead" if connection.reconnected_for_s > timing.settle_s else None
        except nats.errors.TimeoutError:
            return f"node {self.node} is frozen" if connection.reconnected_for_s > timing.ping_s else None
        except nats.errors.Error:
            return None  # the connection broke while asking: the next silence asks again
        return None


def _wake(waiter: asyncio.Future[bool], came: bool) -> None:
    if not waiter.done():
        waiter.set_result(came)
