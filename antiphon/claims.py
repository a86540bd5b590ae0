"""Claim a slot: send a request once, and find out what becomes of it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from antiphon.connection import Connection
from antiphon.errors import MalformedMessage, NotConnected, SpeechError, TextTooLong
from antiphon.events import Accepted, End, Failure, decode_event
from antiphon.inbox import Inboxes, is_no_responders
from antiphon.request import Envelope
from antiphon.run import Run, Timing
from antiphon.strays import Strays
from antiphon.subjects import Subjects
from antiphon.ticket import Claim, Outcome, Ticket

_HEADER_ROOM: Final = 1024
"""Bytes that subject and headers of a request may need: the server counts headers as payload."""


class Claims:
    """Sends the requests of one process, and learns how long an acceptance takes."""

    def __init__(
        self, connection: Connection, subjects: Subjects, inboxes: Inboxes, strays: Strays, timing: Timing
    ) -> None:
        self._connection = connection
        self._subjects = subjects
        self._inboxes = inboxes
        self._strays = strays
        self._timing = timing
        self._accept_delays: deque[float] = deque(maxlen=100)
        self._accept_p99_s = 0.0

    async def send(self, ticket: Ticket, on_outcome: Callable[[Claim], None]) -> Claim:
        """Send the request once; `on_outcome` is called when it is decided what became of it."""
        claim = Claim(ticket)
        claim.decided.add_done_callback(lambda _: on_outcome(claim))
        claim.token = self._inboxes.open(lambda msg: self._on_message(claim, msg))
        ticket.claims.append(claim)
        loop = asyncio.get_running_loop()
        try:
            await self._connection.established()
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
        nc = self._connection.nc
        if len(ticket.payload) + _HEADER_ROOM > nc.max_payload:
            raise TextTooLong(f"a request of {len(ticket.payload)} bytes is too large to send", param="text")
        envelope = Envelope(
            ticket.id,
            attempt=ticket.attempt,
            budget_s=max(budget_s, 0.0),
            stream=True,
            traceparent=ticket.traceparent,
        )
        subject, reply = self._subjects.synth(ticket.model), self._inboxes.subject(token)
        try:
            await nc.publish(subject, ticket.payload, reply=reply, headers=envelope.headers())
        except nats.errors.Error as exc:
            raise NotConnected(f"not sent: {exc}") from exc

    def _accept_timeout_s(self) -> float:
        seconds = max(self._timing.accept_min_s, 4 * self._connection.rtt_s, 2 * self._accept_p99_s)
        return min(seconds, self._timing.accept_max_s)

    def _note_accept_delay(self, seconds: float) -> None:
        self._accept_delays.append(min(seconds, self._timing.accept_max_s))
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
            self._inboxes.close(claim.token)

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
                        self._connection,
                        self._subjects,
                        self._timing,
                        id=run_id,
                        node=node,
                        slot=slot,
                        model=model,
                    )
                    ticket.claimed.set_result(ticket.run)
                    self._decide(claim, Outcome.ACCEPTED)
                elif ticket.wanted:
                    self._decide(claim, Outcome.MISPLACED)
                    self._strays.cancel(msg, run_id)
                else:
                    # Locked to another run, or gone: this one is for nobody.
                    self._inboxes.close(claim.token)
                    self._decide(claim, Outcome.ACCEPTED)
                    self._strays.cancel(msg, run_id)
            case Failure(code, text, param) if claim.is_open:
                exc = SpeechError.from_code(code, text, param=param)
                if not exc.retryable:
                    ticket.fail(exc)
                self._decide(claim, Outcome.REFUSED if exc.retryable else Outcome.FAILED)
            case End() | Failure():
                pass  # over already
            case _:
                self._strays.cancel(msg, run_id)
