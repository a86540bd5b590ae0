"""A run's audio as a stream of events, with flow control."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

import nats.errors
from nats.aio.client import Client

from antiphon.background import Spawn
from antiphon.errors import SpeechError
from antiphon.events import (
    MAX_CHUNK_BYTES,
    Accepted,
    AudioChunk,
    End,
    Failure,
    KnownEvent,
    Position,
    Progress,
    Segment,
    Words,
    encode_event,
)
from synth_node.delivery import Buffer, short_text
from synth_node.seam import Seam


class StreamDelivery:
    """Events on the caller's inbox; at most `window` bytes of audio are unacknowledged.

    subject: the caller's inbox. reply: an inbox of the node, where "no responders" tells that the caller is
    gone. What the window does not let out waits here, up to `buffer_bytes`, and in all runs together up to
    what `buffer` may hold; past that the engine waits.

    listened: somebody listens to it as it comes. Then audio is let out up to the ends of segments, as long as
    LEAD_S of it are ahead of the listener's ear: should this node be lost, another goes on between sentences.
    """

    def __init__(
        self,
        nc: Client,
        spawn: Spawn,
        buffer: Buffer,
        *,
        run: str,
        subject: str,
        reply: str,
        window: int,
        buffer_bytes: int,
        listened: bool = True,
    ) -> None:
        self.last_sent_at = 0.0
        self._nc = nc
        self._spawn = spawn
        self._buffer = buffer
        self._run = run
        self._subject = subject
        self._reply = reply
        self._window = window
        self._buffer_bytes = buffer_bytes
        self._seam = Seam() if listened else None
        self._seq = 0
        self._n_bytes = 0
        self._n_sent = 0
        self._acknowledged = 0
        self._held: list[tuple[bytes, Position | None] | Segment | Words] = []
        self._release_timer: asyncio.TimerHandle | None = None
        self._backlog: deque[KnownEvent] = deque()
        self._backlog_bytes = 0
        self._moved = asyncio.Event()
        self._sender: asyncio.Task[None] | None = None
        self._sends_here = False
        self._closed = False

    async def accept(self, node: str, slot: int, model: str) -> None:
        await self._send(Accepted(node, slot, model))

    async def tell(self, event: Segment | Words) -> None:
        if self._held:
            self._held.append(event)
        else:
            await self._put([event])

    async def audio(self, data: bytes, at: Position | None = None) -> None:
        if self._closed:
            return
        self._held.append((data, at))
        self._keep(len(data))
        now = asyncio.get_running_loop().time()
        wait_s = 0.0 if self._seam is None else self._seam.wait_s(len(data), at, now)
        if wait_s > 0:
            if self._release_timer is None:
                self._release_timer = asyncio.get_running_loop().call_later(wait_s, self._release_late)
        else:
            await self._put(self._released())
        while self._backlog_bytes > self._buffer_bytes or (self._backlog_bytes and self._buffer.is_full):
            if self._held:
                await self._put(self._released())
            else:
                await self._buffer.change()

    def _released(self) -> list[KnownEvent]:
        """Return what was held, in as few messages as it fits into."""
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None
        events: list[KnownEvent] = []
        data, at = b"", None
        for held in self._held:
            if isinstance(held, tuple) and len(data) + len(held[0]) <= MAX_CHUNK_BYTES:
                data, at = data + held[0], held[1]
                continue
            events += self._chunks(data, at)
            data, at = b"", None
            if isinstance(held, tuple):
                data, at = held
            else:
                events.append(held)
        events += self._chunks(data, at)
        self._held.clear()
        if self._seam is not None:
            self._seam.released(asyncio.get_running_loop().time())
        return events

    def _chunks(self, data: bytes, at: Position | None) -> Iterator[AudioChunk]:
        """Cut what is too long for one message; only its last part has come as far as `at`."""
        for start in range(0, len(data), MAX_CHUNK_BYTES):
            chunk = data[start : start + MAX_CHUNK_BYTES]
            yield AudioChunk(self._seq, chunk, at if start + len(chunk) == len(data) else None)
            self._seq += 1
            self._n_bytes += len(chunk)

    def _release_late(self) -> None:
        """Let out what was held: the listener comes close."""
        self._release_timer = None
        if not self._closed:
            self._backlog.extend(self._released())
            self._keep_sending()

    async def end(self, *, audio_ms: int, synthesis_ms: int) -> None:
        events = self._released()
        stats = {"n": self._seq, "bytes": self._n_bytes, "audio_ms": audio_ms, "synthesis_ms": synthesis_ms}
        await self._put([*events, End(stats)])

    async def fail(self, exc: SpeechError) -> None:
        self._drop()
        await self._put([Failure(exc.code, short_text(str(exc)), exc.param)])

    def _drop(self) -> None:
        if self._release_timer is not None:
            self._release_timer.cancel()
            self._release_timer = None
        self._held.clear()
        self._backlog.clear()
        self._keep(-self._backlog_bytes)
        self._moved.set()

    def _keep(self, n_bytes: int) -> None:
        self._backlog_bytes += n_bytes
        self._buffer.add(n_bytes)

    def credit(self, n_bytes: int, total: int | None) -> None:
        acknowledged = self._acknowledged + n_bytes if total is None else max(self._acknowledged, total)
        self._acknowledged = min(acknowledged, self._n_sent)
        self._moved.set()

    def close(self) -> None:
        self._closed = True
        self._drop()

    @property
    def is_complete(self) -> bool:
        return self._sender is None or self._sender.done()

    async def delivered(self) -> None:
        if self._sender is not None:
            await asyncio.shield(self._sender)

    async def progress(self) -> None:
        """Tell the caller that the run is alive."""
        await self._send(Progress())

    async def _put(self, events: list[KnownEvent]) -> None:
        """Send what the window allows, in order; the rest is sent as the caller grants more."""
        if self._closed:
            return
        self._backlog.extend(events)
        if self._sends_here or not self.is_complete:
            return  # whoever sends comes to these, too
        self._sends_here = True
        try:
            while self._backlog and self._fits(self._backlog[0]):
                await self._send_counted(self._backlog.popleft())
        finally:
            self._sends_here = False
        self._keep_sending()

    def _keep_sending(self) -> None:
        if self._backlog and self.is_complete and not self._sends_here:
            self._sender = self._spawn(self._send_backlog(), f"deliver {self._run}")

    def _fits(self, event: KnownEvent) -> bool:
        n_bytes = len(event.audio) if isinstance(event, AudioChunk) else 0
        unacknowledged = self._n_sent - self._acknowledged
        return not n_bytes or not unacknowledged or unacknowledged + n_bytes <= self._window

    async def _send_backlog(self) -> None:
        try:
            while self._backlog:
                if self._fits(self._backlog[0]):
                    await self._send_counted(self._backlog.popleft())
                else:
                    self._moved.clear()
                    await self._moved.wait()
        except nats.errors.Error:
            self.close()  # the caller finds the gap, or the silence

    async def _send_counted(self, event: KnownEvent) -> None:
        if isinstance(event, AudioChunk):
            self._n_sent += len(event.audio)
            self._keep(-len(event.audio))
        await self._send(event)

    async def _send(self, event: KnownEvent) -> None:
        if not self._closed:
            self.last_sent_at = asyncio.get_running_loop().time()
            await self._nc.publish(self._subject, encode_event(self._run, event), reply=self._reply)
