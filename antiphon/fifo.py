"""The FIFO of one model in one process, and how it is woken when a slot becomes free."""

from __future__ import annotations

import asyncio
from bisect import insort
from contextlib import suppress
from typing import TYPE_CHECKING

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.errors import NoNodes, NotConnected
from antiphon.subjects import WAITERS_QUEUE
from antiphon.ticket import Outcome, Ticket

if TYPE_CHECKING:
    from antiphon.dispatch import Dispatcher


class ModelQueue:
    """The FIFO of one model in one process, and its one place in the queue group of waiters."""

    def __init__(self, dispatcher: Dispatcher, model: str) -> None:
        self.model = model
        self.fifo: list[Ticket] = []
        self.characters = 0
        self.n_bytes = 0
        self.users = 0
        self.woken = asyncio.Event()
        self._dispatcher = dispatcher
        self._pump: asyncio.Task[None] | None = None
        self._wake_up: asyncio.Future[Msg] | None = None
        self._membership: Subscription | None = None

    @property
    def unused(self) -> bool:
        """Whether nothing would be missed if this queue were forgotten."""
        return self.users == 0 and not self.fifo and self._pump is None and self._wake_up is None

    def enter(self, ticket: Ticket) -> None:
        """Put a request at its place in the FIFO. Raises QueueFull for a new one that finds no room."""
        if not ticket.admitted:
            self._dispatcher.check_room(ticket)
            ticket.admitted = True
        insort(self.fifo, ticket, key=lambda each: each.order)
        ticket.queued = True
        self._count(ticket, 1)
        if self._pump is None:
            self._pump = self._dispatcher.spawn(self._serve(), f"waiting for {self.model}")

    def leave(self, ticket: Ticket) -> None:
        """Take a request out of the FIFO if it is there."""
        if ticket.queued:
            self.fifo.remove(ticket)
            ticket.queued = False
            self._count(ticket, -1)

    def _count(self, ticket: Ticket, sign: int) -> None:
        self.characters += sign * ticket.characters
        self.n_bytes += sign * len(ticket.payload)
        self._dispatcher.changed()

    async def claim(self, ticket: Ticket) -> Outcome:
        """Try once for `ticket`; unless it is accepted or over, it is in the FIFO afterwards."""
        outcome = await self._dispatcher.attempt(ticket)
        if not ticket.wanted:
            return outcome
        if outcome is Outcome.BUSY and self._dispatcher.absent(self.model) and not ticket.admitted:
            ticket.fail(NoNodes(f"no node of model {self.model} is alive", param="model"))
            return outcome
        if outcome is Outcome.UNANSWERED and ticket.attempts > 1:
            await asyncio.sleep(min(0.01 * 2**ticket.attempts, self._dispatcher.timing.retry_s))
        if ticket.wanted:
            self.enter(ticket)
            if outcome is not Outcome.BUSY:
                self.woken.set()
        return outcome

    async def _serve(self) -> None:
        """Claim for the head until a 503; then wait for a wake-up. Arm first, try second: none is lost."""
        timing = self._dispatcher.timing
        try:
            while self.fifo:
                self.woken.clear()
                await self._arm()
                if not self.fifo:
                    break
                head = self.fifo[0]
                self.leave(head)
                claim = self._dispatcher.spawn(self._claim_for(head), f"claim for {head.id}")
                done, _ = await asyncio.wait({claim}, timeout=timing.pace_s)
                if done and head.queued and not self.woken.is_set():
                    self._give_up_if_absent()
                    await self._wait_for_wake_up(timing.retry_s)
        except (NotConnected, nats.errors.Error) as exc:
            for ticket in list(self.fifo):
                ticket.fail(NotConnected(f"no connection to NATS: {exc}"))
                self.leave(ticket)
        finally:
            self._pump = None

    async def _claim_for(self, ticket: Ticket) -> None:
        await self.claim(ticket)

    async def _wait_for_wake_up(self, at_most_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self.woken.wait()

    def _give_up_if_absent(self) -> None:
        """Fail what waits for a model that never had a node. One whose nodes died may get them back."""
        if self._dispatcher.absent(self.model) and not self._dispatcher.cluster.was_seen(self.model):
            for ticket in self.fifo:
                ticket.fail(NoNodes(f"no node of model {self.model} is alive", param="model"))

    async def _arm(self) -> None:
        """Join the queue group of waiters for exactly one wake-up, unless joined."""
        if self._wake_up is not None:
            return
        nc = self._dispatcher.connection.nc
        wake_up: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        self._wake_up = wake_up
        wake_up.add_done_callback(self._on_wake_up)
        subject = self._dispatcher.subjects.free(self.model)
        await self._dispatcher.connection.established()
        # No await may come between these two: SUB and UNSUB must leave in one write.
        self._membership = await nc.subscribe(subject, queue=WAITERS_QUEUE, future=wake_up)
        await self._membership.unsubscribe(limit=1)

    def _on_wake_up(self, _: asyncio.Future[Msg]) -> None:
        self._wake_up = self._membership = None
        if self.fifo:
            self.woken.set()
        else:
            self._dispatcher.pass_on(self.model)

    async def disarm(self) -> None:
        """Leave the queue group; a wake-up on its way is passed on."""
        if self._membership is not None and self._dispatcher.connection.nc.is_connected:
            with suppress(nats.errors.Error, TimeoutError):
                await asyncio.wait_for(self._membership.drain(), 1.0)  # type: ignore[no-untyped-call]
