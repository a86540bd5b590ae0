"""Speaks for several slots with one engine process, which is given their requests in batches."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest, EngineUnavailable, Speaking
from synth_node.process.batch import Batch, Member
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions

START_AGAIN_S: Final = 10.0
_log: Final = structlog.get_logger("synth_node")


class BatchEngine:
    """One engine process that slots share; somebody has to run it.

    A batch begins when each of the slots has a request, or when `wait_s` seconds have passed since the first
    of them. While it runs no slot of the process takes a request: others of the group may be free for it.
    """

    def __init__(self, spec: str, *, number: int, options: EngineOptions, wait_s: float) -> None:
        self.host = EngineHost(spec, slot=number, options=options, batches=True)
        self.slots: set[BatchHost] = set()
        self._number = number
        self._idle_s = options.idle_s
        self._wait_s = wait_s
        self._waiting: list[Member] = []
        self._changed = asyncio.Event()
        self._is_up = False
        self._outcome: asyncio.Future[EngineUnavailable | None] | None = None
        self._unready: asyncio.Future[None] | None = None
        self._watched: asyncio.Future[None] | None = None

    # -- its life

    async def run(self) -> None:
        """Keep the engine's process, and give it one batch after another."""
        while True:
            try:
                async with self.host:
                    self._is_up = True
                    self._tell(None)
                    await self._serve()
            except EngineUnavailable as exc:
                _log.error(
                    "engine does not start",
                    process=self._number,
                    reason=str(exc),
                    again_in_s=START_AGAIN_S,
                )
                self._tell(exc)
            await asyncio.sleep(START_AGAIN_S)

    def _tell(self, outcome: EngineUnavailable | None) -> None:
        if self._outcome is not None:
            self._outcome.set_result(outcome)
            self._outcome = None

    async def started(self) -> None:
        """Return when the engine has started. Raises EngineUnavailable when it has not, the next time."""
        if self._is_up:
            return
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        outcome = self._outcome
        await asyncio.wait({outcome})
        if (failure := outcome.result()) is not None:
            raise EngineUnavailable(str(failure))

    async def _serve(self) -> None:
        while True:
            await self.host.ready()
            await self._gathered()
            if self.host.is_free and self._waiting:
                self._begin()

    async def _gathered(self) -> None:
        """Return when it is time for a batch."""
        while not self._waiting:
            await self._change()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                while self._waiting and not self._is_complete():
                    await self._change()

    def _is_complete(self) -> bool:
        """Tell whether there is nothing to wait for: no other slot can still have a request for it."""
        return self._waiting[0].request.alone or len(self._waiting) >= len(self.slots)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _begin(self) -> None:
        first = self._waiting[0]
        alone = first.request.alone
        members = [first] if alone else [each for each in self._waiting if not each.request.alone]
        self._waiting = [each for each in self._waiting if each not in members]
        for member in members:
            member.number = self.host.number()
        # As if it spoke them one after the other: then it does not gain, but neither does it hang.
        bound_s = self.host.bound_s(sum(member.n_characters for member in members))
        number = self.host.number()
        batch = Batch(
            self.host.process,
            number,
            members,
            idle_s=self._idle_s,
            bound_s=bound_s,
            on_unwanted=self.host.leave,
        )
        self.host.begin(batch, "M", [(member.number, self.host.order(member.request)) for member in members])
        self.withdraw()

    # -- for its slots

    def unready(self) -> asyncio.Future[None]:
        """Return what is done when a batch begins, or the engine has ended."""
        ended = self.host.unready()
        if self._watched is not ended:
            self._watched = ended
            ended.add_done_callback(lambda _: self.withdraw())
        if self._unready is None or self._unready.done():
            self._unready = asyncio.get_running_loop().create_future()
        unready = self._unready
        if not self.host.is_free:
            self.withdraw()
        return unready

    def withdraw(self) -> None:
        """Have idle slots leave the group."""
        if self._unready is not None and not self._unready.done():
            self._unready.set_result(None)

    def look(self) -> None:
        """See what a slot has changed."""
        self._changed.set()

    def speak(self, request: EngineRequest) -> Member:
        """Have an utterance made with the next batch."""
        member = Member(request)
        self._waiting.append(member)
        self.look()
        return member

    def leave(self, member: Member) -> None:
        """Want no more of an utterance; when nobody wants any of its batch, that is cancelled."""
        if member in self._waiting:
            self._waiting.remove(member)
            self.look()
        elif member.batch is not None:
            member.batch.leave(member)


class BatchHost:
    """A slot's share of an engine process."""

    def __init__(self, engine: BatchEngine) -> None:
        self._engine = engine
        self._current: Member | None = None

    async def __aenter__(self) -> BatchHost:
        """Wait until the engine has started. Raises EngineUnavailable."""
        await self._engine.started()
        self._engine.slots.add(self)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Have batches wait for this slot no more."""
        if self._current is not None:
            self._engine.leave(self._current)
        self._engine.slots.discard(self)
        self._engine.look()

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""
        return self._engine.host.info

    @property
    def seconds_per_character(self) -> float:
        """The engine's own time for the longest text of a batch, a moving mean; 0.0 until measured."""
        return self._engine.host.seconds_per_character

    @property
    def is_ready(self) -> bool:
        """Whether the engine is up and no batch runs."""
        return self._engine.host.is_ready

    async def ready(self) -> None:
        """Return when the engine is up and no batch runs."""
        await self._engine.host.ready()

    async def free(self) -> None:
        """Return when the engine is up and no batch runs; what is worn is replaced between two batches."""
        await self._engine.host.ready()

    def unready(self) -> asyncio.Future[None]:
        """Return what is done when a batch begins, or the engine has ended."""
        return self._engine.unready()

    def speak(self, request: EngineRequest) -> Member:
        """Have an utterance made with the next batch. The caller must call `leave` with it in the end."""
        self._current = self._engine.speak(request)
        return self._current

    def leave(self, utterance: Speaking) -> None:
        """Want no more of `utterance`."""
        if self._current is utterance and self._current is not None:
            self._engine.leave(self._current)
            self._current = None
