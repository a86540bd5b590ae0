"""Find a free slot: claim one, wait in a FIFO of one's own when all are busy, claim again when woken.

An idle slot is a one-shot member of the queue group `synth`, so a request meets a free slot or nobody. See
docs/explanation/dispatch.md for why each step is the way it is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

import nats.errors

from antiphon.background import Spawn
from antiphon.claims import Claims
from antiphon.cluster import Cluster
from antiphon.connection import Connection
from antiphon.errors import AllSlotsBusy, NoNodes, NotConnected, QueueFull
from antiphon.fifo import ModelQueue
from antiphon.heartbeat import Waiting, encode_waiting
from antiphon.inbox import Inboxes
from antiphon.run import Run, Timing
from antiphon.strays import Strays
from antiphon.subjects import Subjects
from antiphon.ticket import Limits, Ticket

_REPORT_SPACING_S: Final = 0.1
_WAIT_MARGIN_S: Final = 0.02
_LEAVE_S: Final = 2.0


class Dispatcher:
    """Claims slots for the requests of one process, over one connection.

    caller: token of this process in `tts.waiting`.
    """

    def __init__(
        self,
        connection: Connection,
        subjects: Subjects,
        cluster: Cluster,
        inboxes: Inboxes,
        spawn: Spawn,
        *,
        limits: Limits,
        timing: Timing,
    ) -> None:
        self.connection = connection
        self.subjects = subjects
        self.cluster = cluster
        self.inboxes = inboxes
        self.spawn = spawn
        self.limits = limits
        self.timing = timing
        self.caller = secrets.token_hex(6)
        self.settled = asyncio.Event()
        self._queues: dict[str, ModelQueue] = {}
        self._changed = asyncio.Event()
        self._reported: set[str] = set()
        self.strays = Strays(connection, spawn)
        self.claims = Claims(connection, subjects, inboxes, self.strays, timing)
        self._being_said: set[asyncio.Task[None]] = set()
        self.closing = False
        connection.on_reconnect(self._on_reconnect)

    # -- for the client

    async def acquire(self, ticket: Ticket) -> Run:
        """Return a run that a slot has accepted.

        Raises:
            AllSlotsBusy, QueueFull, NoNodes: with a forecast where there is one.
            SpeechError: what a node says of the request itself.
        """
        self._close(ticket)
        ticket.renew()
        now = asyncio.get_running_loop().time()
        # Just before the budget ends: who waited in vain is told that all were busy, and may come again.
        ticket.wait_until = min(ticket.deadline - _WAIT_MARGIN_S, now + ticket.wait_left_s)
        queue = self._queues.get(ticket.model)
        if queue is None:
            queue = self._queues[ticket.model] = ModelQueue(self, ticket.model)
        queue.users += 1
        loop = asyncio.get_running_loop()
        bound = loop.call_at(ticket.wait_until, self._waited_in_vain, ticket)
        try:
            if queue.fifo or not self.connection.nc.is_connected:
                queue.enter(ticket)
            else:
                await self.claims.send(ticket, queue.on_outcome)
            return await ticket.claimed
        finally:
            bound.cancel()
            # If the run gives nothing, its wait goes on; there is time to ask another slot at least.
            least_s = min(ticket.wait_s, self.timing.retry_s)
            ticket.wait_left_s = max(ticket.wait_until - loop.time(), least_s)
            queue.leave(ticket)
            queue.users -= 1
            self.forget_if_unused(queue)

    def forget_if_unused(self, queue: ModelQueue) -> None:
        """Drop a queue that nobody uses, so that made-up names of models leave nothing behind."""
        if queue.unused and self._queues.get(queue.model) is queue:
            del self._queues[queue.model]

    def _waited_in_vain(self, ticket: Ticket) -> None:
        if not self.connection.nc.is_connected:
            ticket.fail(NotConnected("no connection to NATS"))
        elif self.absent(ticket.model):
            ticket.fail(self.no_nodes(ticket.model))
        else:
            text = f"no slot of model {ticket.model} became free in time"
            ticket.fail(self._all_busy(ticket.model, text, self.forecast(ticket.model)))

    def _all_busy(self, model: str, text: str, wait_s: float | None) -> AllSlotsBusy:
        paused = self.cluster.paused_for(model, asyncio.get_running_loop().time())
        why = f", for its engine pauses: {paused}" if paused else ""
        return AllSlotsBusy(f"{text}{why}", retry_after_s=wait_s)

    def release(self, ticket: Ticket) -> None:
        """Forget a request that is over. An attempt that is accepted later still will be cancelled."""
        ticket.gone = True
        ticket.end_pause()
        self._close(ticket)
        for claim in ticket.claims:
            asyncio.get_running_loop().call_at(ticket.deadline, self.inboxes.close, claim.token)

    def _close(self, ticket: Ticket) -> None:
        for claim in ticket.claims:
            if not claim.is_open:
                self.inboxes.close(claim.token)
        ticket.claims = [claim for claim in ticket.claims if claim.is_open]

    def forecast(self, model: str) -> float | None:
        """Return in how many seconds a request that joined now would find a slot; None when unknown."""
        now = asyncio.get_running_loop().time()
        others = self.cluster.waiting(now, model, without=self.caller)
        mine = self.waiting(model)
        ahead = Waiting(others.waiting + mine.waiting, others.characters + mine.characters)
        return self.cluster.forecast(model, ahead, now)

    def waiting(self, model: str | None = None) -> Waiting:
        """Return what this process has waiting, for one model or for all."""
        chosen = [q for q in self._queues.values() if model in (None, q.model)]
        return Waiting(sum(q.n_waiting for q in chosen), sum(q.characters for q in chosen))

    @property
    def waiting_models(self) -> set[str]:
        """The models that something waits for here."""
        return {q.model for q in self._queues.values() if q.n_waiting}

    def absent(self, model: str) -> bool:
        """Tell whether it is certain that no node of the model lives.

        No responders means "all busy" or "no such model". Only a full round of status replies and some time
        of heartbeats tell the two apart.
        """
        now = asyncio.get_running_loop().time()
        return self.knows_all and not self.cluster.has_nodes(model, now)

    def no_nodes(self, model: str) -> NoNodes:
        """Return what says that no node of the model lives, and which models do."""
        others = self.cluster.models(asyncio.get_running_loop().time())
        alive = f" (alive: {', '.join(others)})" if others else ""
        return NoNodes(f"no node of model {model} is alive{alive}", param="model")

    @property
    def knows_all(self) -> bool:
        """Whether every node has had the time to tell of itself since the (re)connect."""
        return self.settled.is_set() and self.connection.connected_for_s >= self.timing.settle_s

    def check_room(self, ticket: Ticket) -> None:
        """Raise QueueFull if the FIFOs have no room for it, AllSlotsBusy if it would wait too long.

        What waits already may see its nodes come back; who comes when there is none is told so: NoNodes.
        """
        if self.absent(ticket.model):
            raise self.no_nodes(ticket.model)
        queues = self._queues.values()
        n_bytes = sum(q.n_bytes for q in queues)
        if (
            sum(q.n_waiting for q in queues) >= self.limits.max_waiting
            or n_bytes + len(ticket.payload) > self.limits.max_waiting_bytes
        ):
            raise QueueFull("too many requests wait already", retry_after_s=self.forecast(ticket.model))
        wait_s = self.forecast(ticket.model)
        if wait_s is not None and asyncio.get_running_loop().time() + wait_s > ticket.wait_until:
            raise self._all_busy(ticket.model, f"a slot becomes free in about {wait_s:.0f} s only", wait_s)

    async def _send(self, subject: str, payload: bytes = b"") -> None:
        with suppress(nats.errors.Error):  # without a connection there is nobody to tell
            await self.connection.nc.publish(subject, payload)

    def pass_on(self, model: str) -> None:
        """Announce a free slot again that finds nobody waiting here."""
        if not self.closing:
            self.say(self._send(self.subjects.free(model)), "pass a wake-up on")

    def say(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start what others must not miss, also when this process leaves at once."""
        task = self.spawn(work, name)
        self._being_said.add(task)
        task.add_done_callback(self._being_said.discard)

    # -- what others should know

    def changed(self) -> None:
        """Have the number of waiting requests published soon."""
        self._changed.set()

    async def report_waiting(self) -> None:
        """Publish what waits here, on change and every second while something does."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0 if self._reported else None):
                    await self._changed.wait()
            self._changed.clear()
            waiting = self.waiting_models
            for model in waiting | self._reported:
                report = encode_waiting(self.waiting(model))
                await self._send(self.subjects.waiting(model, self.caller), report)
            self._reported = waiting
            await asyncio.sleep(_REPORT_SPACING_S)

    async def _on_reconnect(self) -> None:
        for queue in self._queues.values():
            queue.try_again()

    async def leave(self) -> None:
        """Leave the queue groups of waiters, passing on the wake-ups that still arrive."""
        for queue in list(self._queues.values()):
            await queue.close()
        # Cancelled within a flush, nats-py would lose the connection, and with it what is still to be sent.
        if self._being_said:
            await asyncio.wait(self._being_said, timeout=_LEAVE_S)
        self.closing = self.strays.closing = True
