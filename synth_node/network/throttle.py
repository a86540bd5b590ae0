"""How much an engine's server takes at once: less after it refused, and again more as time goes by."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog

from antiphon.errors import Draining

_UNPROBED = "the engine has not been probed yet"
log = structlog.get_logger()


class Throttle:
    """The limit of utterances that an engine makes at once, shared by the slots of a node.

    A refusal lowers it to what the server has just taken; after `hold_s` seconds without another one it
    rises by half, and so on up to `most`. A slot takes a place before it joins the group, and leaves the
    group if the limit falls below the places taken: others of the group are asked in its stead. An
    utterance that was refused waits for its turn and tries again; its caller notices a delay only.
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
        self._hold_s = hold_s
        self._n_at_work = 0
        self._turns: deque[asyncio.Future[None]] = deque()
        self._places: dict[object, Callable[[], bool]] = {}
        self._wants_place: deque[asyncio.Future[None]] = deque()
        self._rise: asyncio.TimerHandle | None = None

    # -- for the engine

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until one more may be at work, and be at work until the end of the block.

        Hold it for as long as the server counts the utterance, which is one connection or one request.

        Raises:
            Draining: the engine is paused.
        """
        others_wait = bool(self._turns)  # one that was woken may not have come to it yet
        while others_wait or self._n_at_work >= self.limit:
            self.check_open()
            await self._wait_in(self._turns)
            others_wait = False
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
            log.warning("the engine's server refuses; fewer slots are offered", limit=limit, most=self.most)
        self._set(limit, hold_s=max(for_s, self._hold_s))
        return self._n_at_work == 1

    def pause(self, reason: str, *, for_s: float = 30.0) -> None:
        """Have nothing spoken for `for_s` seconds, and then until a probe succeeds.

        What waits for its turn fails with `reason`, a sentence that shows no secret.
        """
        if self.paused_for is None:
            log.error("the engine pauses", reason=reason, for_s=for_s)
        self.paused_for = reason
        self.pause_s = for_s
        self._set(0)
        for turn in self._turns:
            if not turn.done():
                turn.set_exception(Draining(reason))
        self.pause_requested.set()

    # -- for the node

    def open(self) -> None:
        """Let the engine speak, for a probe has succeeded: all at once at first, one by one after a pause."""
        limit = self.most if self.paused_for == _UNPROBED else 1
        self.paused_for = None
        self.pause_requested.clear()
        self._set(limit)

    def close(self) -> None:
        """End the timer."""
        if self._rise is not None:
            self._rise.cancel()
            self._rise = None

    async def take_place(self, holder: object, on_withdraw: Callable[[], bool]) -> None:
        """Wait until there is a place for `holder`, unless it has one.

        on_withdraw: called when places are to be given back; returns whether this one will be, soon.
        """
        while holder not in self._places and len(self._places) >= self.limit:
            await self._wait_in(self._wants_place)
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

    async def _wait_in(self, queue: deque[asyncio.Future[None]]) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(future)
        self._look()
        try:
            await future
        except asyncio.CancelledError:
            queue.remove(future)
            self._look()  # it may have been woken: its room is another's
            raise
        finally:
            if future in queue:
                queue.remove(future)

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
        for queue, room in (
            (self._turns, self.limit - self._n_at_work),
            (self._wants_place, self.limit - len(self._places)),
        ):
            for future in list(queue)[: max(0, room)]:
                if not future.done():
                    future.set_result(None)
