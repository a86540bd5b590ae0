"""One utterance of the client: runs are claimed and replaced until its audio is there."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Final

from antiphon.dispatch import Dispatcher
from antiphon.errors import AttemptsExhausted, DeadlineExceeded, Draining, SpeechError
from antiphon.events import AudioChunk, End, Segment, Words
from antiphon.heard import Heard
from antiphon.lengths import with_length
from antiphon.request import Resume
from antiphon.run import Run
from antiphon.ticket import Ticket

_LATE: Final = "the audio was not complete within the request's time"


class Utterance:
    """One request and all of its audio; iterate over it, or over its `events`, once.

    id: the request's, the same on every node. end: set once the audio is complete, whether yielded or not.
    """

    def __init__(self, dispatcher: Dispatcher, ticket: Ticket) -> None:
        self.id = ticket.id
        self.end: End | None = None
        self._dispatcher = dispatcher
        self._ticket = ticket
        self._run: Run | None = None
        self._events: AsyncGenerator[AudioChunk | Segment | Words, None] | None = None
        self._held: deque[bytes | Segment | Words] = deque()
        self._heard = Heard()
        self._lost = 0
        self._gave = False  # whether the run has given anything

    @property
    def model(self) -> str:
        """The model that speaks, or the one that is asked for before one does."""
        return (self._run and self._run.model) or self._ticket.model

    @property
    def node(self) -> str:
        """The node in charge, or the empty string before there is one."""
        return "" if self._run is None else self._run.node

    async def begin(self, hold_bytes: int) -> None:
        """Wait for the first audio, or with `hold_bytes` for all of it or more than that.

        Raises:
            SpeechError: see errors.py.
        """
        try:
            async with asyncio.timeout_at(self._ticket.deadline):
                while not await self._attempt(hold_bytes):
                    pass
        except TimeoutError:
            raise self._late() from None

    async def _attempt(self, hold_bytes: int) -> bool:
        """Claim a run and collect its audio; False if it was lost and another may do better."""
        self._run = await self._dispatcher.acquire(self._ticket)
        try:
            await self._collect(self._run, hold_bytes)
        except SpeechError as exc:
            if not exc.retryable:
                raise
            await self._run.cancel()
            self._count_loss(exc)
            # A server that takes so much in a while, and no more, would never come to the end of a long text.
            goes_on = isinstance(exc, Draining) or self._ticket.request.resume is not None
            self._ask_for_rest(self._run, self._heard.resume() if goes_on else None)
            return False
        return True

    async def _collect(self, run: Run, hold_bytes: int) -> None:
        if self._ticket.request.resume is None:
            self._held.clear()
            self._heard = Heard()
        self._events = run.events()
        self._gave = False
        n_bytes = sum(len(event) for event in self._held if isinstance(event, bytes))
        async for event in self._events:
            self._gave = True
            if (told := self._heard.note(event)) is not None:
                self._held.append(told)
            if isinstance(told, bytes):
                n_bytes += len(told)
                if n_bytes > hold_bytes:
                    return
        self._finish(run)
        told_of = [event for event in self._held if not isinstance(event, bytes)]
        audio = b"".join(event for event in self._held if isinstance(event, bytes))
        self._held = deque([*told_of, with_length(audio, self._ticket.request.format)])

    def _finish(self, run: Run) -> None:
        if run.end is not None:
            self.end = End({**run.end.stats, "audio_ms": self._heard.before_ms + run.end.audio_ms})

    def _late(self) -> BaseException:
        """Return why there is no audio; a late loop ends the wait for a slot and the whole in one turn."""
        return self._ticket.failure or DeadlineExceeded(_LATE)

    def _count_loss(self, exc: SpeechError) -> None:
        """Bound the runs that one request may cost: it may be the one that kills them."""
        died = not isinstance(exc, Draining)  # else the slot was about to leave, and has left by now
        if died or self._gave:
            self._ticket.wait_left_s = self._ticket.wait_s
        if not died:
            return
        self._lost += 1
        self._ticket.attempt += 1
        if self._lost >= self._dispatcher.limits.max_lost:
            raise AttemptsExhausted(f"{self._lost} runs were lost; the last one: {exc}") from exc

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.events()) as events:
            async for event in events:
                if isinstance(event, bytes):
                    yield event

    async def events(self) -> AsyncGenerator[bytes | Segment | Words, None]:
        """Yield the audio in order, and between it which segment begins and when words are heard.

        When a run is lost, another goes on from where the listener is, if the format can be continued.

        Raises:
            SpeechError: see errors.py; what came until then is not the whole.
        """
        while self._held:
            yield self._held.popleft()
        while self.end is None:
            try:
                async with asyncio.timeout_at(self._ticket.deadline):
                    told = await self._next()
            except TimeoutError:
                raise self._late() from None
            if told is not None:
                yield told

    async def _next(self) -> bytes | Segment | Words | None:
        """Return what comes next; None if that was nothing to tell of."""
        run, events = self._run, self._events
        assert run is not None
        assert events is not None
        try:
            event = await anext(events, None)
        except SpeechError as exc:
            await self._go_on(run, exc)
            return None
        if event is None:
            if run.end is None:
                raise RuntimeError("the iteration over an utterance that was broken off cannot go on")
            self._finish(run)
            return None
        self._gave = True
        return self._heard.note(event)

    async def _go_on(self, run: Run, exc: SpeechError) -> None:
        """Have another slot go on from where the listener is. Raises `exc` if that cannot be."""
        await run.cancel()
        request = self._ticket.request
        resume = self._heard.resume()
        if not exc.retryable or request.format == "flac" or resume is None:
            raise exc
        if request.resume is None or resume.offset > request.resume.offset:
            self._lost = 0  # it has spoken since the last loss, so it is not the text that kills
        self._count_loss(exc)
        self._ask_for_rest(run, resume)
        self._run = await self._dispatcher.acquire(self._ticket)
        self._events = self._run.events()
        self._gave = False

    def _ask_for_rest(self, run: Run, resume: Resume | None) -> None:
        """Have the next run go on after `run`, or begin anew if that cannot be."""
        request = self._ticket.request
        if request.format == "flac":
            resume = None
        self._ticket.ask(replace(request, resume=resume))
        if resume is not None:
            self._ticket.stay_with(run.model)  # another voice would not go on where this one was

    async def leave(self) -> None:
        """End the request wherever it is; a run that is not over is cancelled on its node."""
        self._dispatcher.release(self._ticket)
        if self._ticket.run is not None:
            await self._ticket.run.cancel()
        if self._events is not None:
            await self._events.aclose()
