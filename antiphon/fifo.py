"""The FIFO of one model in one process, and how it is woken when a slot becomes free."""

from __future__ import annotations

import asyncio
from bisect import insort
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.errors import NoNodes, NotConnected, SpeechError
from antiphon.subjects import WAITERS_QUEUE
from antiphon.ticket import Claim, Outcome, Ticket

if TYPE_CHECKING:
    from antiphon.dispatch import Dispatcher


WAKE_UPS: Final = 16
"""Wake-ups for which a process joins the queue group at once: a frozen one swallows no more than these."""


class ModelQueue:
    """The FIFO of one model in one process, and its place in the queue group of waiters.

    Join first, then try until nobody responds; from then on every wake-up is one try. A slot joins its group
    first and announces itself second, so no free slot is overlooked.
    """

    def __init__(self, dispatcher: Dispatcher, model: str) -> None:
        self.model = model
        self.fifo: list[Ticket] = []
        self.characters = 0
        self.n_bytes = 0
        self.users = 0
        self._dispatcher = dispatcher
        self._server: asyncio.Task[None] | None = None
        self._membership: Subscription | None = None
        self._wake_ups_left = 0
        self._probing = False
        self._woken = asyncio.Event()

    @property
    def unused(self) -> bool:
        """Whether nothing would be missed if this queue were forgotten."""
        return self.users == 0 and not self.fifo and self._server is None

    def enter(self, ticket: Ticket) -> None:
        """Put a request at its place in the FIFO. Raises QueueFull or AllSlotsBusy if it finds no room."""
        if not ticket.admitted:
            self._dispatcher.check_room(ticket)
            ticket.admitted = True
        if self.fifo and self.fifo[-1].order > ticket.order:
            insort(self.fifo, ticket, key=lambda each: each.order)
        else:
            self.fifo.append(ticket)
        ticket.queued = True
        self._count(ticket, 1)
        if self._server is None:
            self._server = self._dispatcher.spawn(self._serve(), f"waiting for {self.model}")

    def leave(self, ticket: Ticket) -> None:
        """Take a request out of the FIFO if it is there."""
        if ticket.queued:
            self.fifo.remove(ticket)
            ticket.queued = False
            self._count(ticket, -1)
            if not self.fifo:
                self._woken.set()

    def _count(self, ticket: Ticket, sign: int) -> None:
        self.characters += sign * ticket.characters
        self.n_bytes += sign * len(ticket.payload)
        self._dispatcher.changed()

    def try_again(self) -> None:
        """Have the FIFO try until nobody responds: something may have changed without a wake-up."""
        self._probing = True
        self._woken.set()

    def on_outcome(self, ticket: Ticket, outcome: Outcome) -> None:
        """Have a request whose claim came to nothing wait in the FIFO."""
        if not ticket.wanted:
            return
        dispatcher = self._dispatcher
        if outcome is Outcome.BUSY and not ticket.admitted and dispatcher.absent(self.model):
            ticket.fail(NoNodes(f"no node of model {self.model} is alive", param="model"))
        elif outcome is Outcome.UNANSWERED and ticket.attempts > 1:
            pause_s = min(0.01 * 2**ticket.attempts, dispatcher.timing.retry_s)
            asyncio.get_running_loop().call_later(pause_s, self._come_back, ticket)
        elif outcome is Outcome.BUSY:
            self._admit(ticket)
        else:
            self._come_back(ticket)

    def _come_back(self, ticket: Ticket) -> None:
        if ticket.wanted:
            self._admit(ticket)
            self.try_again()

    def _admit(self, ticket: Ticket) -> None:
        try:
            self.enter(ticket)
        except SpeechError as exc:
            ticket.fail(exc)

    async def _serve(self) -> None:
        """Claim slots for the heads of the FIFO until it is empty."""
        try:
            while self.fifo:
                self._woken.clear()
                if self._wake_ups_left == 0:
                    await self._join()
                if self._probing:
                    await self._probe()
                else:
                    await self._rest()
        except (NotConnected, nats.errors.Error) as exc:
            for ticket in list(self.fifo):
                ticket.fail(NotConnected(f"no connection to NATS: {exc}"))
                self.leave(ticket)
        finally:
            self._server = None
            self._leave_group()

    async def _probe(self) -> None:
        """Claim for the head, and note when nobody responds: from then on wake-ups tell of free slots."""
        if not self.fifo:
            return
        claim = await self._claim_for_head()
        # A claim that a frozen node has taken does not keep the next in line from trying.
        await asyncio.wait({claim.decided}, timeout=self._dispatcher.timing.pace_s)
        if claim.decided.done() and claim.decided.result() is Outcome.BUSY:
            self._probing = False
            self._give_up_if_absent()

    async def _claim_for_head(self) -> Claim:
        head = self.fifo[0]
        self.leave(head)
        return await self._dispatcher.claim(head, self.on_outcome)

    async def _rest(self) -> None:
        """Wait until there is more to do than wake-ups do by themselves, but not for ever."""
        try:
            async with asyncio.timeout(self._dispatcher.timing.retry_s):
                await self._woken.wait()
        except TimeoutError:
            self._probing = True

    def _give_up_if_absent(self) -> None:
        """Fail what waits for a model that never had a node. One whose nodes died may get them back."""
        if self._dispatcher.absent(self.model) and not self._dispatcher.cluster.was_seen(self.model):
            for ticket in self.fifo:
                ticket.fail(NoNodes(f"no node of model {self.model} is alive", param="model"))

    async def _join(self) -> None:
        """Join the queue group of waiters for the next wake-ups."""
        connection = self._dispatcher.connection
        subject = self._dispatcher.subjects.free(self.model)
        await connection.established()
        # No await may come between these two: SUB and UNSUB must leave in one write.
        self._membership = await connection.nc.subscribe(subject, queue=WAITERS_QUEUE, cb=self._on_wake_up)
        await self._membership.unsubscribe(limit=WAKE_UPS)
        self._wake_ups_left = WAKE_UPS
        self._probing = True

    async def _on_wake_up(self, _: Msg) -> None:
        """Answer a wake-up with one claim, at once: claims for several slots do not wait for each other."""
        self._wake_ups_left = max(0, self._wake_ups_left - 1)
        if not self._wake_ups_left:
            self._woken.set()
        if not self.fifo:
            self._dispatcher.pass_on(self.model)
        elif self._dispatcher.connection.nc.is_connected:
            await self._claim_for_head()
        else:
            self.try_again()

    def _leave_group(self) -> None:
        membership, self._membership = self._membership, None
        left, self._wake_ups_left = self._wake_ups_left, 0
        if membership is not None and left:
            self._dispatcher.say(self._drain(membership), "leave the waiters")

    async def _drain(self, membership: Subscription) -> None:
        """Leave so that wake-ups on their way still arrive, and are passed on."""
        with suppress(nats.errors.Error, TimeoutError):
            if self._dispatcher.connection.nc.is_connected:
                async with asyncio.timeout(2.0):
                    await membership.drain()  # type: ignore[no-untyped-call]
            else:
                await membership.unsubscribe()

    async def close(self) -> None:
        """Leave the queue group now."""
        if self._server is not None:
            self._server.cancel()
            await asyncio.wait({self._server})
