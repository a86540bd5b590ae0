"""Utterances that one call of an engine makes together."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable, Sequence
from typing import Final

from synth_node.host import EngineRequest
from synth_node.process.engine import EngineProcess, Frame
from synth_node.process.utterance import Utterance
from synth_node.working_time import WorkingTime

MAX_BUFFERED_BYTES: Final = 16 * 1024 * 1024
"""Raw audio of one utterance that waits for a slow listener before it holds up all of its batch."""


class Batch:
    """Utterances that the engine makes at once; one work for whoever keeps the engine.

    idle_s: longest silence of the engine, for all of them. bound_s: on all of its work. on_unwanted: called
    once, when the engine is still at it, and nobody wants any of it.
    """

    def __init__(
        self,
        process: EngineProcess,
        number: int,
        members: Sequence[Member],
        *,
        idle_s: float,
        bound_s: float,
        on_unwanted: Callable[[Batch], None],
    ) -> None:
        self.number = number
        self.n_segments = len(members)
        self.n_characters = max(member.n_characters for member in members)
        self.succeeded = False
        self.begun = False
        self.streamed = False
        self._process = process
        self._members = {member.number: member for member in members}
        self._wanted = set(members)
        self._holding: set[Member] = set()
        self._idle_s = idle_s
        self._on_unwanted = on_unwanted
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._watch = self._loop.call_later(idle_s, self._look)
        endless = f"the engine worked for {bound_s:g} s on a batch of {len(members)}"
        self._working = WorkingTime(bound_s, lambda: process.kill(endless))
        self._working.run()
        for member in members:
            member.batch = self

    @property
    def working_s(self) -> float:
        """Time of the engine's own: without that in which it was held up."""
        return self._working.seconds

    def take(self, frame: Frame) -> bool:
        """Take a frame of one of them; return whether it was the last. Raises ValueError for nonsense."""
        member = self._members.get(frame.utterance)
        if member is None:
            raise ValueError("a frame of no utterance")
        self.begun = True
        self._heard_at = self._loop.time()
        if member.take(frame):
            self.succeeded = self.succeeded or member.succeeded
            self._forget(member)
            self.release(member)
            self._want_no_more(member)
        self.streamed = self.streamed or member.streamed
        return not self._members

    def leave(self, member: Member) -> None:
        """Keep nothing more of one of them."""
        if member in self._wanted and not self._process.ended.done():
            member.drop()
            self._process.send("C", member.number)
            self._want_no_more(member)

    def _want_no_more(self, member: Member) -> None:
        """Tell, once, when that was the last that somebody wanted, and the engine is at others still."""
        if member in self._wanted:
            self._wanted.discard(member)
            if self._members and not self._wanted:
                self._on_unwanted(self)

    def drop(self) -> None:
        """Keep none of its audio from now on."""
        for member in self._members.values():
            member.drop()

    def fail(self, failure: Exception) -> None:
        """End all of them with `failure`, each behind its audio that is there."""
        for member in list(self._members.values()):
            member.fail(copy.copy(failure))  # each is raised in a task of its own
            self._forget(member)

    def _forget(self, member: Member) -> None:
        del self._members[member.number]
        if not self._members:
            self._watch.cancel()
            self._working.stop()

    def _look(self) -> None:
        """Kill an engine that hangs; one that is held up by a listener does not."""
        silent_s = 0.0 if self._holding else self._loop.time() - self._heard_at
        if silent_s >= self._idle_s:
            self._process.kill(f"the engine was silent for {self._idle_s:g} s")
        else:
            self._watch = self._loop.call_later(self._idle_s - silent_s, self._look)

    # -- for its members

    def hold(self, member: Member) -> None:
        """Have the engine wait for the listener of `member`."""
        self._holding.add(member)
        self._process.pause()
        self._working.stop()

    def release(self, member: Member) -> None:
        """Go on, unless it has to wait for another."""
        if member in self._holding:
            self._holding.discard(member)
            self._heard_at = self._loop.time()
        if not self._holding:
            self._process.resume()
            if self._members:
                self._working.run()


class Member(Utterance):
    """One utterance, before and in its batch. batch: None while it waits for one."""

    def __init__(self, request: EngineRequest) -> None:
        super().__init__(
            self,
            0,
            n_characters=len(request.text),
            idle_s=None,
            bound_s=None,
            buffered_bytes=MAX_BUFFERED_BYTES,
        )
        self.request = request
        self.batch: Batch | None = None

    def pause(self) -> None:
        """Hold up the batch."""
        if self.batch is not None:
            self.batch.hold(self)

    def resume(self) -> None:
        """Hold it up no more."""
        if self.batch is not None:
            self.batch.release(self)

    def kill(self, why: str) -> None:
        """Leave that to the batch, which looks after the engine."""
