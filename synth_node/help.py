"""Asking idle slots of the same model for one segment each, without ever waiting for one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from antiphon.connection import Connection
from antiphon.errors import MalformedMessage
from antiphon.events import Accepted, Failure, decode_event
from antiphon.inbox import Inboxes, is_no_responders
from antiphon.request import (
    DEFAULT_WINDOW_BYTES,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    Envelope,
    SpeechRequest,
    encode_request,
    is_speakable,
)
from antiphon.run import Run, Timing
from antiphon.subjects import Subjects
from synth_node.text.segments import Spoken

WORTH_S: Final = 0.03
"""A segment that the engine makes in less is not worth a request."""
_HEAD_START_S: Final = 0.002
"""What callers get who wait for the slot that became free just now."""
_TIMING: Final = Timing()


@dataclass(frozen=True, slots=True)
class Colleagues:
    """The other slots of a model, on this node and elsewhere.

    most: that may help one utterance at the same time. callers_wait: whether a caller waits for a slot.
    """

    connection: Connection
    inboxes: Inboxes
    subjects: Subjects
    model: str
    most: int
    callers_wait: Callable[[], bool]


class Help:
    """What one utterance may ask of the other slots of its model.

    seconds_per_character: of the engine; 0.0 until measured. deadline: end of the utterance's budget on the
    loop's clock.
    """

    def __init__(
        self,
        colleagues: Colleagues,
        request: SpeechRequest,
        envelope: Envelope,
        deadline: float,
        seconds_per_character: Callable[[], float],
    ) -> None:
        self.most = colleagues.most
        self._colleagues = colleagues
        self._request = request
        self._envelope = envelope
        self._deadline = deadline
        self._seconds_per_character = seconds_per_character
        self._tokens: dict[Run, str] = {}

    def can_give(self, sample_rate: int) -> bool:
        """Tell whether samples at that rate, in Hz, can be asked for at all."""
        return self.most > 0 and MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE

    def is_slow(self, spoken: Spoken) -> bool:
        """Tell whether the engine is known to take long for a segment: help is due before its first sound."""
        return self._seconds_per_character() * len(spoken.text) > WORTH_S

    def is_due(self, spoken: Spoken) -> bool:
        """Tell whether a segment is worth a request, and no caller waits for the slot that would serve it."""
        worth = self._seconds_per_character() == 0.0 or self.is_slow(spoken)
        return worth and not self._colleagues.callers_wait() and is_speakable(spoken.text)

    @asynccontextmanager
    async def free_slots(self, hint: asyncio.Event) -> AsyncIterator[None]:
        """Set `hint` whenever a slot of the model has become free."""
        loop = asyncio.get_running_loop()

        async def on_free(_: Msg) -> None:
            loop.call_later(_HEAD_START_S, hint.set)

        others = self._colleagues
        await others.connection.established()
        free = others.subjects.free(others.model)
        announcements = await others.connection.nc.subscribe(free, cb=on_free)
        try:
            yield
        finally:
            with suppress(nats.errors.Error):
                await announcements.unsubscribe()

    async def ask(self, spoken: Spoken, sample_rate: int) -> Run | None:
        """Return the run of a slot that speaks it as PCM at `sample_rate` Hz; None if none is idle."""
        others = self._colleagues
        answer: asyncio.Future[Run | None] = asyncio.get_running_loop().create_future()
        run: Run | None = None

        def settle(result: Run | None) -> None:
            if not answer.done():
                answer.set_result(result)

        def on_message(msg: Msg) -> None:
            nonlocal run
            if is_no_responders(msg):
                settle(None)
                return
            with suppress(MalformedMessage):
                id, event = decode_event(msg.data)
                if run is not None:
                    if run.id == id:
                        run.feed(event)
                elif isinstance(event, Accepted):
                    run = Run(
                        others.connection,
                        others.subjects,
                        _TIMING,
                        id=id,
                        node=event.node,
                        slot=event.slot,
                        model=event.model,
                    )
                    settle(run)
                elif isinstance(event, Failure):
                    settle(None)

        token = others.inboxes.open(on_message)
        accepted: Run | None = None
        try:
            async with asyncio.timeout(_TIMING.accept_max_s):
                await self._publish(spoken, sample_rate, others.inboxes.subject(token))
                accepted = await answer
        except (TimeoutError, nats.errors.Error):
            pass  # a slot that accepts it later is told that nobody wants it any more
        finally:
            if accepted is None:
                others.inboxes.close(token)
        if accepted is not None:
            self._tokens[accepted] = token
            if accepted.model not in (None, others.model):  # where the server maps subjects
                await self.leave(accepted)
                return None
        return accepted

    async def _publish(self, spoken: Spoken, sample_rate: int, reply: str) -> None:
        request = replace(
            self._request, text=spoken.text, format="pcm", sample_rate=sample_rate, split=False, resume=None
        )
        budget_s = self._deadline - asyncio.get_running_loop().time()
        envelope = replace(
            self._envelope, budget_s=max(budget_s, 0.0), stream=True, window=DEFAULT_WINDOW_BYTES
        )
        others = self._colleagues
        await others.connection.nc.publish(
            others.subjects.synth(others.model),
            encode_request(request),
            reply=reply,
            headers=envelope.headers(),
        )

    async def leave(self, run: Run) -> None:
        """Want no more of a run; one that is not over is cancelled."""
        token = self._tokens.pop(run, None)
        if token is not None:
            self._colleagues.inboxes.close(token)
            await run.cancel()

    async def leave_all(self) -> None:
        """Want no more of any run."""
        for run in list(self._tokens):
            await self.leave(run)
