"""One request on its way to a slot."""

from __future__ import annotations

import asyncio
import enum
import itertools
import secrets
from dataclasses import dataclass

from antiphon.errors import SpeechError
from antiphon.request import SpeechRequest, encode_request
from antiphon.run import Run


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one caller process.

    max_waiting: requests in its FIFOs. max_waiting_bytes: text in them, in bytes. max_lost: accepted runs
    of one request that may be lost to dead nodes or engines.
    """

    max_waiting: int = 1000
    max_waiting_bytes: int = 64 * 1024 * 1024
    max_lost: int = 3


class Outcome(enum.Enum):
    """What became of one claim."""

    ACCEPTED = enum.auto()
    BUSY = enum.auto()
    """No responders: no slot is free, or no node lives."""
    REFUSED = enum.auto()
    """Delivered to a slot that does not take it, such as one that is leaving."""
    UNANSWERED = enum.auto()
    """Delivered to nobody or to a frozen node."""
    MISPLACED = enum.auto()
    """Accepted by a slot of another model than the one that is to go on; see Ticket.stay_with."""
    FAILED = enum.auto()
    """The request itself is at fault."""


class Claim:
    """One attempt of a ticket, on an inbox token of its own.

    wish: what the ticket waited for when this was sent.
    decided: its outcome, once there is one. outcome: the last one; after UNANSWERED it may be accepted late.
    sent_at: on time.monotonic(), which is finer than a loop's clock.
    """

    __slots__ = ("decided", "outcome", "sent_at", "ticket", "timer", "token", "wish")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.wish = ticket.claimed
        self.token = ""
        self.sent_at = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self.outcome: Outcome | None = None
        self.decided: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    @property
    def is_open(self) -> bool:
        """Whether an answer may still come."""
        return self.outcome in (None, Outcome.UNANSWERED)


class Ticket:
    """One request on its way to a slot.

    order: position among all requests of this process; one that comes back is older, so it is first again.
    model: token of the model that is asked for. only: the one that may take it; None for any.
    deadline: end of the budget on the loop's clock. wait_s: bound on each wait for a slot. wait_left_s: the
    same of the next one, which may go on with the last.
    claims: the attempts whose inbox tokens are held. attempt: 1, and 1 more for each run that was lost.
    admitted: it passed the bounds of the queue once. gone: its caller left.
    """

    _orders = itertools.count()

    def __init__(
        self,
        request: SpeechRequest,
        model: str,
        *,
        deadline: float,
        wait_s: float,
        traceparent: str | None = None,
    ) -> None:
        self.id = secrets.token_hex(16)
        self.order = next(self._orders)
        self.model = model
        self.only: str | None = None
        self.ask(request)
        self.deadline = deadline
        self.wait_s = self.wait_left_s = wait_s
        self.wait_until = deadline
        self.traceparent = traceparent
        self.attempt = 1
        self.admitted = False
        self.queued = False
        self.counted = False
        self.unanswered = 0
        self.pause: asyncio.TimerHandle | None = None
        self.gone = False
        self.run: Run | None = None
        self.claims: list[Claim] = []
        self.claimed: asyncio.Future[Run] = asyncio.get_running_loop().create_future()

    def ask(self, request: SpeechRequest) -> None:
        """Have this asked for by the next claim."""
        self.request = request
        self.payload = encode_request(request)
        self.characters = len(request.text) - (0 if request.resume is None else request.resume.offset)

    def stay_with(self, model: str | None) -> None:
        """Have only this model take it from now on: it goes on where a run of that model was lost.

        A server that maps subjects may hand a request to another one. None is not known.
        """
        self.only = model
        self.model = model or self.model

    def fits(self, model: str | None) -> bool:
        """Tell whether a slot of `model` may take it."""
        return None in (self.only, model) or self.only == model

    def renew(self) -> None:
        """Forget the run, so that another can be claimed."""
        self.end_pause()
        self.run = None
        self.claimed = asyncio.get_running_loop().create_future()
        self.claimed.add_done_callback(lambda done: done.cancelled() or done.exception())

    def end_pause(self) -> None:
        """Have no claim follow by itself any more."""
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None

    def fail(self, exc: SpeechError) -> None:
        """Let whoever waits for the run have `exc` instead."""
        if not self.claimed.done():
            self.claimed.set_exception(exc)

    @property
    def failure(self) -> BaseException | None:
        """What it failed with, if it did since `renew`."""
        return self.claimed.exception() if self.claimed.done() and not self.claimed.cancelled() else None

    @property
    def wanted(self) -> bool:
        """Whether a run is still to be claimed."""
        return not self.gone and not self.claimed.done()
