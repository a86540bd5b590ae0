"""How much an engine's server takes at once: less after it refused, and again more as time goes by."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import islice
from typing import Final

import structlog

from antiphon.errors import Draining

_UNPROBED: Final = "the engine has not been probed yet"
_log: Final = structlog.get_logger("synth_node")


class Throttle:
    """The limit of utterances that an engine makes at once, shared by the slots of a node.

    A refusal lowers it to what the server has just taken; after `hold_s` seconds without another one it
    rises by half, and so on up to `most`. A slot takes a place before it joins the group, and leaves the
    group if the limit falls below the places taken: others of the group are asked in its stead. What becomes
    of an utterance that was refused is for others to say; while the engine pauses, none gets a turn.
    """

    def __init__(self, most: int, *, hold_s: float = 10.0) -> None:
        self.most = most
        self.limit = 0
        """Places now; 0 until `open`."""
        self.paused_for: str | None = _UNPROBED
        """Why nothing is to be spoken until a probe succeeds; None when it may be."""
        self.pause_s = 0.0
        """How long to wait before the probe, in seconds."""
        self.pause_requested = asyncio.Event()
        self.pause_requested.set()
        self._pause_ends_at = 0.0
        self._was_open = False
        self._hold_s = hold_s
        self._n_at_work = 0
        self._turns: deque[asyncio.Event] = deque()
        self._places: dict[object, Callable[[], bool]] = {}
        self._wants_place: deque[asyncio.Event] = deque()
        self._rise: asyncio.TimerHandle | None = None

    # -- for the engine

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one more may be at work, and be at work until the end of the block.

        Hold it for as long as the server counts the utterance, which is one connection or one request.

        Raises:
            Draining: the engine is paused.
        """
        if self._turns or not self._turns_left():  # one that was woken may not have come to it yet
            self.check_open()
            await self._wait_in(self._turns, self._may_take_turn)
        self._n_at_work += 1
        try:
            yield
        finally:
            self._end_of_work()

    def lasts_until(self, end: asyncio.Future[None]) -> None:
        """Have the turn that is ending now last until `end` is done: the server counts it until then."""
        self._n_at_work += 1
        end.add_done_callback(self._end_of_work)

    def _end_of_work(self, _: asyncio.Future[None] | None = None) -> None:
        self._n_at_work -= 1
        self._look()

    def check_open(self) -> None:
        """Raise Draining if the engine is paused."""
        if self.paused_for is not None:
            raise Draining(self.paused_for)

    def refused(self, *, for_s: float = 0.0) -> bool:
        """Note that the server refused the utterance whose turn it is: there are too many.

        for_s: how long it is going to. Return whether nothing else is at work there.
        """
        if self.paused_for is not None:
            return False
        limit = max(1, min(self.limit, self._n_at_work - 1))
        if limit < self.limit:
            _log.warning("the engine's server refuses; fewer slots are offered", limit=limit, most=self.most)
        self._set(limit, hold_s=max(for_s, self._hold_s))
        return self._n_at_work == 1

    def pause(self, reason: str, *, for_s: float = 30.0) -> None:
        """Have nothing spoken for `for_s` seconds, and then until a probe succeeds.

        What waits for its turn fails with `reason`, a sentence that shows no secret.
        """
        if self.paused_for is None:
            _log.error("the engine pauses", reason=reason, for_s=for_s)
        self.paused_for = reason
        self.pause_s = for_s
        self._pause_ends_at = asyncio.get_running_loop().time() + for_s
        self._set(0)
        for turn in self._turns:
            turn.set()
        self.pause_requested.set()

    # -- for the node

    def open(self) -> None:
        """Let the engine speak, for a probe has succeeded: all at once at first, one by one after a pause."""
        limit = 1 if self._was_open else self.most
        self._was_open = True
        self.paused_for = None
        self._set(limit)

    def stay_paused(self, reason: str, *, for_s: float) -> None:
        """Say why the engine cannot speak yet: what the last probe found, a sentence without secrets.

        for_s: until the next probe.
        """
        self.paused_for = reason
        self._pause_ends_at = asyncio.get_running_loop().time() + for_s

    @property
    def pause_left_s(self) -> float:
        """Seconds until the next probe of an engine that pauses; 0.0 while there is one, or no pause."""
        if self.paused_for is None:
            return 0.0
        return max(0.0, self._pause_ends_at - asyncio.get_running_loop().time())

    def close(self) -> None:
        """End the timer."""
        if self._rise is not None:
            self._rise.cancel()
            self._rise = None

    async def take_place(self, holder: object, on_withdraw: Callable[[], bool]) -> None:
        """Wait until there is a place for `holder`, unless it has one.

        on_withdraw: called when places are to be given back; returns whether this one will be, soon.
        """
        if holder not in self._places and not self._places_left():
            await self._wait_in(self._wants_place, lambda: self._places_left() > 0)
        self._places[holder] = on_withdraw

    def holds_place(self, holder: object) -> bool:
        """Tell whether `holder` has a place."""
        return holder in self._places

    def may_keep_place(self, holder: object) -> bool:
        """Tell whether `holder` has a place, and no more are taken than the limit allows."""
        return holder in self._places and len(self._places) <= self.limit

    def give_back(self, holder: object) -> None:
        """Give a place back, if `holder` has one."""
        if self._places.pop(holder, None) is not None:
            self._look()

    async def _wait_in(self, queue: deque[asyncio.Event], may_go: Callable[[], bool]) -> None:
        """Wait behind the others; who is woken for what is gone meanwhile keeps its place."""
        woken = asyncio.Event()
        queue.append(woken)
        self._look()
        try:
            await woken.wait()
            while not may_go():
                woken.clear()
                await woken.wait()
        finally:
            queue.remove(woken)
            self._look()  # if it does not go, what it was woken for is another's

    def _may_take_turn(self) -> bool:
        """Raise Draining if the engine is paused."""
        self.check_open()
        return self._turns_left() > 0

    def give_back_excess(self, holder: object) -> None:
        """Give the place back if there are more of them taken than the limit allows."""
        if len(self._places) > self.limit:
            self.give_back(holder)

    def _set(self, limit: int, *, hold_s: float | None = None) -> None:
        self.limit = limit
        self.close()
        if 0 < limit < self.most:
            hold_s = self._hold_s if hold_s is None else hold_s
            more = min(self.most, limit + max(1, limit // 2))
            self._rise = asyncio.get_running_loop().call_later(hold_s, self._set, more)
        excess = len(self._places) - limit
        for on_withdraw in list(self._places.values()):
            if excess <= 0:
                break
            if on_withdraw():
                excess -= 1
        self._look()

    def _look(self) -> None:
        """Wake as many as there is room for."""
        for woken in [
            *islice(self._turns, self._turns_left()),
            *islice(self._wants_place, self._places_left()),
        ]:
            woken.set()

    def _turns_left(self) -> int:
        return max(0, self.limit - self._n_at_work)

    def _places_left(self) -> int:
        return max(0, self.limit - len(self._places))
