"""Find a free slot: claim one, wait in a FIFO of one's own when all are busy, claim again when woken.

An idle slot is a one-shot member of the queue group `synth`, so a request meets a free slot or nobody. See
docs/explanation/dispatch.md for why each step is the way it is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from antiphon.background import Spawn
from antiphon.cluster import Cluster
from antiphon.connection import Connection
from antiphon.errors import (
    AllSlotsBusy,
    MalformedMessage,
    NoNodes,
    NotConnected,
    QueueFull,
    SpeechError,
    TextTooLong,
)
from antiphon.events import Accepted, End, Failure, decode_event
from antiphon.fifo import ModelQueue
from antiphon.heartbeat import Waiting, encode_waiting
from antiphon.inbox import Inboxes, is_no_responders
from antiphon.request import Envelope
from antiphon.run import Run, Timing
from antiphon.strays import Strays
from antiphon.subjects import Subjects
from antiphon.ticket import Claim, Limits, Outcome, Ticket

_HEADER_ROOM: Final = 1024
"""Bytes that subject and headers of a request may need: the server counts headers as payload."""
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
        self._accept_delays: deque[float] = deque(maxlen=100)
        self._accept_p99_s = 0.0
        self._changed = asyncio.Event()
        self._reported: set[str] = set()
        self.strays = Strays(connection, spawn)
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
        ticket.wait_until = min(ticket.deadline - _WAIT_MARGIN_S, now + ticket.wait_s)
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
                await self.claim(ticket, queue.on_outcome)
            return await ticket.claimed
        finally:
            bound.cancel()
            queue.leave(ticket)
            queue.users -= 1
            self.forget_if_unused(queue)

    def forget_if_unused(self, queue: ModelQueue) -> None:
        """Drop a queue that nobody uses, so that made-up names of models leave nothing behind."""
        if queue.unused and self._queues.get(queue.model) is queue:
            del self._queues[queue.model]

    def _waited_in_vain(self, ticket: Ticket) -> None:
        if self.connection.nc.is_connected:
            text = f"no slot of model {ticket.model} became free in time"
            ticket.fail(AllSlotsBusy(text, retry_after_s=self.forecast(ticket.model)))
        else:
            ticket.fail(NotConnected("no connection to NATS"))

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
            raise AllSlotsBusy(f"a slot becomes free in about {wait_s:.0f} s only", retry_after_s=wait_s)

    # -- claims

    async def claim(self, ticket: Ticket, on_outcome: Callable[[Claim], None]) -> Claim:
        """Send the request once; `on_outcome` is called when it is decided what became of it."""
        claim = Claim(ticket)
        claim.decided.add_done_callback(lambda _: on_outcome(claim))
        claim.token = self.inboxes.open(lambda msg: self._on_message(claim, msg))
        ticket.claims.append(claim)
        loop = asyncio.get_running_loop()
        try:
            await self.connection.established()
            if ticket.wanted:
                claim.sent_at = monotonic()
                await self._publish(ticket, claim.token, budget_s=ticket.deadline - loop.time())
                timeout_s = self._accept_timeout_s()
                claim.timer = loop.call_later(timeout_s, self._decide, claim, Outcome.UNANSWERED)
            else:
                self._decide(claim, Outcome.FAILED)
        except SpeechError as exc:
            ticket.fail(exc)
            self._decide(claim, Outcome.FAILED)
        return claim

    async def _publish(self, ticket: Ticket, token: str, *, budget_s: float) -> None:
        nc = self.connection.nc
        if len(ticket.payload) + _HEADER_ROOM > nc.max_payload:
            raise TextTooLong(f"a request of {len(ticket.payload)} bytes is too large to send", param="text")
        envelope = Envelope(
            ticket.id,
            attempt=ticket.attempt,
            budget_s=max(budget_s, 0.0),
            stream=True,
            traceparent=ticket.traceparent,
        )
        subject, reply = self.subjects.synth(ticket.model), self.inboxes.subject(token)
        try:
            await nc.publish(subject, ticket.payload, reply=reply, headers=envelope.headers())
        except nats.errors.Error as exc:
            raise NotConnected(f"not sent: {exc}") from exc

    def _accept_timeout_s(self) -> float:
        seconds = max(self.timing.accept_min_s, 4 * self.connection.rtt_s, 2 * self._accept_p99_s)
        return min(seconds, self.timing.accept_max_s)

    def _note_accept_delay(self, seconds: float) -> None:
        self._accept_delays.append(min(seconds, self.timing.accept_max_s))
        ordered = sorted(self._accept_delays)
        self._accept_p99_s = ordered[int(0.99 * (len(ordered) - 1))]

    def _decide(self, claim: Claim, outcome: Outcome) -> None:
        """Settle what became of a claim. Its token stays with a run, and where an answer may still come."""
        if claim.timer is not None:
            claim.timer.cancel()
        claim.outcome = outcome
        if not claim.decided.done():
            claim.decided.set_result(outcome)
        if outcome not in (Outcome.ACCEPTED, Outcome.UNANSWERED):
            self.inboxes.close(claim.token)

    def _on_message(self, claim: Claim, msg: Msg) -> None:
        ticket = claim.ticket
        if is_no_responders(msg):
            self._decide(claim, Outcome.BUSY)
            return
        try:
            run_id, event = decode_event(msg.data)
        except MalformedMessage:
            return  # not of our protocol: as if it had not come
        if ticket.run is not None and ticket.run.id == run_id:
            ticket.run.feed(event)
            return
        match event:
            case Accepted(node, slot, model):
                self._note_accept_delay(monotonic() - claim.sent_at)
                if ticket.wanted and ticket.fits(model):
                    ticket.run = Run(
                        self.connection,
                        self.subjects,
                        self.timing,
                        id=run_id,
                        node=node,
                        slot=slot,
                        model=model,
                    )
                    ticket.claimed.set_result(ticket.run)
                    self._decide(claim, Outcome.ACCEPTED)
                elif ticket.wanted:
                    self._decide(claim, Outcome.MISPLACED)
                    self.strays.cancel(msg, run_id)
                else:
                    # Locked to another run, or gone: this one is for nobody.
                    self.inboxes.close(claim.token)
                    self._decide(claim, Outcome.ACCEPTED)
                    self.strays.cancel(msg, run_id)
            case Failure(code, text, param) if claim.is_open:
                exc = SpeechError.from_code(code, text, param=param)
                if not exc.retryable:
                    ticket.fail(exc)
                self._decide(claim, Outcome.REFUSED if exc.retryable else Outcome.FAILED)
            case End() | Failure():
                pass  # over already
            case _:
                self.strays.cancel(msg, run_id)

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
