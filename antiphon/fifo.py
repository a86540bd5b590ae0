"""The FIFO of one model in one process, and how it is woken when a slot becomes free."""

from __future__ import annotations

import asyncio
from bisect import insort
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.errors import NotConnected, SpeechError
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
        self.n_waiting = 0
        """Requests in the FIFO, and those from it whose claims are on their way."""
        self.characters = 0
        self.n_bytes = 0
        self.users = 0
        self._dispatcher = dispatcher
        self._server: asyncio.Task[None] | None = None
        self._membership: Subscription | None = None
        self._wake_ups_left = 0
        self._probing = False
        self._probing_since = 0.0
        self._woken = asyncio.Event()

    @property
    def unused(self) -> bool:
        """Whether nothing would be missed if this queue were forgotten."""
        return self.users == 0 and self.n_waiting == 0 and self._server is None

    def enter(self, ticket: Ticket) -> None:
        """Put a request at its place in the FIFO. Raises QueueFull or AllSlotsBusy if it finds no room."""
        if ticket.queued:
            return
        if not ticket.admitted:
            self._dispatcher.check_room(ticket)
            ticket.admitted = True
        if self.fifo and self.fifo[-1].order > ticket.order:
            insort(self.fifo, ticket, key=lambda each: each.order)
        else:
            self.fifo.append(ticket)
        ticket.queued = True
        if not ticket.counted:
            self._count(ticket, 1)
        if self._probing:
            self._woken.set()
        if self._server is None:
            self._server = self._dispatcher.spawn(self._serve(), f"waiting for {self.model}")

    def leave(self, ticket: Ticket) -> None:
        """Forget a request: it has its run, or it is over."""
        if ticket.queued:
            self.fifo.remove(ticket)
            ticket.queued = False
        if ticket.counted:
            self._count(ticket, -1)
            if not self.n_waiting:
                self._woken.set()

    def _count(self, ticket: Ticket, sign: int) -> None:
        ticket.counted = sign > 0
        self.n_waiting += sign
        self.characters += sign * ticket.characters
        self.n_bytes += sign * len(ticket.payload)
        self._dispatcher.changed()

    def try_again(self) -> None:
        """Have the FIFO try until nobody responds: something may have changed without a wake-up."""
        self._probing = True
        self._probing_since = monotonic()
        self._woken.set()

    def on_outcome(self, claim: Claim) -> None:
        """Have a request whose claim came to nothing wait in the FIFO."""
        ticket, outcome = claim.ticket, claim.decided.result()
        if outcome is Outcome.BUSY and claim.sent_at >= self._probing_since:
            self._probing = False  # from now on wake-ups tell of free slots
        # A run can be lost before this is called: then the ticket waits for another, with another claim.
        if not ticket.wanted or claim.wish is not ticket.claimed:
            return
        in_vain = outcome in (Outcome.UNANSWERED, Outcome.MISPLACED)
        ticket.unanswered = ticket.unanswered + 1 if in_vain else 0
        if outcome is Outcome.BUSY:
            self._admit(ticket)
            self._give_up_if_absent()
        elif ticket.unanswered > 1:
            pause_s = min(0.02 * 2 ** min(ticket.unanswered, 10), self._dispatcher.timing.retry_s)
            loop = asyncio.get_running_loop()
            ticket.pause = loop.call_later(pause_s, self._come_back, ticket)
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
        """Claim slots for the heads of the FIFO while anything waits."""
        try:
            while self.n_waiting:
                self._woken.clear()
                if self._wake_ups_left == 0:
                    await self._join()
                if self._probing and self.fifo:
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
            self._dispatcher.forget_if_unused(self)

    async def _probe(self) -> None:
        """Claim for the head. One that a frozen node has taken does not keep the next in line from trying."""
        claim = await self._claim_for_head()
        if claim is not None:
            pace_s = max(self._dispatcher.timing.pace_s, 3 * self._dispatcher.connection.rtt_s)
            await asyncio.wait({claim.decided}, timeout=pace_s)

    async def _claim_for_head(self) -> Claim | None:
        """Claim for the first that still wants a run; None if there is none."""
        while self.fifo:
            head = self.fifo.pop(0)
            head.queued = False
            if head.wanted:
                return await self._dispatcher.claims.send(head, self.on_outcome)
        return None

    async def _rest(self) -> None:
        """Wait until there is more to do than wake-ups do by themselves, but not for ever."""
        try:
            async with asyncio.timeout(self._dispatcher.timing.retry_s):
                await self._woken.wait()
        except TimeoutError:
            self.try_again()

    def _give_up_if_absent(self) -> None:
        """Fail what waits for a model that never had a node. One whose nodes died may get them back."""
        if not self._dispatcher.cluster.was_seen(self.model) and self._dispatcher.absent(self.model):
            for ticket in self.fifo:
                ticket.fail(self._dispatcher.no_nodes(self.model))

    async def _join(self) -> None:
        """Join the queue group of waiters for the next wake-ups."""
        connection = self._dispatcher.connection
        subject = self._dispatcher.subjects.free(self.model)
        await connection.established()
        # No await may come between these two: SUB and UNSUB must leave in one write.
        self._membership = await connection.nc.subscribe(subject, queue=WAITERS_QUEUE, cb=self._on_wake_up)
        await self._membership.unsubscribe(limit=WAKE_UPS)
        self._wake_ups_left = WAKE_UPS
        self.try_again()

    async def _on_wake_up(self, _: Msg) -> None:
        """Answer a wake-up with one claim, at once: claims for several slots do not wait for each other."""
        self._wake_ups_left = max(0, self._wake_ups_left - 1)
        if not self._wake_ups_left:
            self._woken.set()
        if not self._dispatcher.connection.nc.is_connected:
            self.try_again()
        elif await self._claim_for_head() is None:
            self._dispatcher.pass_on(self.model)

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
