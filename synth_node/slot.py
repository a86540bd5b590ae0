"""One slot: a one-shot place in the queue group, one engine, one utterance at a time."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, Literal

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from antiphon.errors import (
    Cancelled,
    DeadlineExceeded,
    Draining,
    EngineCrashed,
    InvalidRequest,
    SpeechError,
    TextTooLong,
)
from antiphon.request import (
    CONTENT_TYPE,
    ID,
    MAX_ID_CHARACTERS,
    REPLY,
    Envelope,
    SpeechRequest,
    decode_request,
)
from antiphon.subjects import SYNTH_QUEUE
from synth_node.delivery import Delivery
from synth_node.help import Help
from synth_node.host import EngineUnavailable
from synth_node.plain_delivery import PlainDelivery
from synth_node.slot_run import SlotRun
from synth_node.stream_delivery import StreamDelivery
from synth_node.synthesizer import EncodedAudio, Synthesizer

if TYPE_CHECKING:
    from synth_node.node import SynthNode

MAX_ATTEMPTS: Final = 3
_START_AGAIN_S: Final = 10.0
_MAX_REPLY_CHARACTERS: Final = 1024
"""So that no answer, which names an inbox of ours too, passes the server's max_control_line."""
_log: Final = structlog.get_logger("synth_node")


class Slot:
    """A slot of a node, from its engine's start to the end of the node."""

    def __init__(self, node: SynthNode, number: int, synthesizer: Synthesizer) -> None:
        self.number = number
        self.state: Literal["starting", "idle", "busy"] = "starting"
        self.current: SlotRun | None = None
        self._node = node
        self._synthesizer = synthesizer

    async def run(self, stopping: asyncio.Future[None]) -> None:
        """Take one utterance after another until `stopping`; finish the one that runs.

        Raises:
            EngineUnavailable: the engine cannot be started at all.
        """
        while not stopping.done():
            try:
                async with self._synthesizer:
                    self._node.engine_started(self._synthesizer.info)
                    await self._serve(stopping)
            except EngineUnavailable as exc:
                if self._node.gives_up_on(self, exc):
                    raise
                _log.error(
                    "engine does not start", slot=self.number, reason=str(exc), again_in_s=_START_AGAIN_S
                )
                await asyncio.wait({stopping}, timeout=_START_AGAIN_S)

    async def _serve(self, stopping: asyncio.Future[None]) -> None:
        while not stopping.done():
            if not await self._engine_ready(stopping):
                return
            if (msg := await self._next_request(stopping)) is not None:
                self._become("busy")
                await self._answer(msg)
            self._become("starting")

    def _become(self, state: Literal["starting", "idle", "busy"]) -> None:
        self.state = state
        self._node.presence.changed()

    async def _engine_ready(self, stopping: asyncio.Future[None]) -> bool:
        """Wait until the engine can work; False when `stopping` came first."""
        if self._synthesizer.is_ready:
            return True
        ready = asyncio.ensure_future(self._synthesizer.ready())
        try:
            await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return ready.done() and not stopping.done()
        finally:
            ready.cancel()
            with suppress(asyncio.CancelledError):
                await ready

    async def _next_request(self, stopping: asyncio.Future[None]) -> Msg | None:
        """Join the queue group for exactly one message; None when it is time to stop or to join anew."""
        request: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        connection = self._node.connection
        await connection.established()
        if stopping.done():
            return None
        # No await may come between these two: SUB and UNSUB must leave in one write.
        membership = await connection.nc.subscribe(
            self._node.synth_subject, queue=SYNTH_QUEUE, future=request
        )
        await membership.unsubscribe(limit=1)
        self._become("idle")
        await self._node.announce_free()  # armed first, announced second: no wake-up is lost
        await self._something(request, stopping)
        if not request.done():
            await self._withdraw(membership)
        return request.result() if request.done() else None

    async def _something(self, request: asyncio.Future[Msg], stopping: asyncio.Future[None]) -> None:
        """Return when the request has come, when the slot has to leave, or when it is time to join anew."""
        loop = asyncio.get_running_loop()
        gate: asyncio.Future[None] = loop.create_future()

        def open_gate(_: object = None) -> None:
            if not gate.done():
                gate.set_result(None)

        unready = self._synthesizer.unready()
        for event in (request, stopping, unready):
            event.add_done_callback(open_gate)
        timer = loop.call_later(self._node.settings.rearm_s, open_gate)
        try:
            await gate
        finally:
            timer.cancel()
            stopping.remove_done_callback(open_gate)
            unready.remove_done_callback(open_gate)

    async def _withdraw(self, membership: Subscription) -> None:
        """Leave the queue group so that what is on its way still arrives."""
        with suppress(nats.errors.Error, TimeoutError):
            if self._node.connection.nc.is_connected:
                async with asyncio.timeout(2.0):
                    return await membership.drain()  # type: ignore[no-untyped-call, no-any-return]
            await membership.unsubscribe()

    async def _answer(self, msg: Msg) -> None:
        """Speak the request of `msg` to its reply subject. Whatever happens, the slot lives on."""
        run: SlotRun | None = None
        try:
            run, request, envelope = self._admit(msg)
        except SpeechError as exc:
            await self._refuse(msg, exc)
            return
        self.current = run
        self._node.runs.register(run)
        try:
            await self._speak(run, request, envelope, msg)
        except nats.errors.Error as exc:
            _log.warning("run lost", run=run.id, error=str(exc))
            run.cancel()
        finally:
            self.current = None
            self._node.runs.finish(run)

    def _admit(self, msg: Msg) -> tuple[SlotRun, SpeechRequest, Envelope]:
        settings = self._node.settings
        envelope = Envelope.from_headers(msg.headers, default_id=secrets.token_hex(16))
        request = decode_request(msg.data, (msg.headers or {}).get(CONTENT_TYPE))
        if not 0 < len(msg.reply) <= _MAX_REPLY_CHARACTERS:
            raise InvalidRequest("the request names no reply subject, or one that is too long")
        if len(request.text) > settings.max_text_characters:
            raise TextTooLong(
                f"{len(request.text)} characters; at most {settings.max_text_characters} are spoken at once",
                param="text",
            )
        budget_s = settings.budget_s if envelope.budget_s is None else envelope.budget_s
        budget_s = min(budget_s, settings.max_budget_s)
        if request.timestamps and not envelope.stream:
            raise InvalidRequest("the words' times need the stream (Tts-Reply: stream)", param="timestamps")
        if budget_s <= 0:
            raise DeadlineExceeded("the request came after its budget had ended")
        id = secrets.token_hex(8)
        delivery = self._delivery(id, request, envelope, msg.reply)
        now = asyncio.get_running_loop().time()
        characters = len(request.text) - (0 if request.resume is None else request.resume.offset)
        return SlotRun(id, max(characters, 1), now, budget_s, delivery), request, envelope

    def _delivery(self, run: str, request: SpeechRequest, envelope: Envelope, reply: str) -> Delivery:
        node = self._node
        if not envelope.stream:
            return PlainDelivery(
                node.connection.nc,
                subject=reply,
                id=envelope.id,
                format=request.format,
                node=node.id,
            )
        return StreamDelivery(
            node.connection.nc,
            node.spawn,
            node.buffer,
            run=run,
            subject=reply,
            reply=node.inboxes.subject(run),
            window=envelope.window,
            buffer_bytes=node.settings.buffer_bytes,
            listened=request.split,
        )

    async def _refuse(self, msg: Msg, exc: SpeechError) -> None:
        """Answer a request that never becomes a run."""
        if not 0 < len(msg.reply) <= _MAX_REPLY_CHARACTERS:
            return
        headers = msg.headers or {}
        id = headers.get(ID, "")[:MAX_ID_CHARACTERS] or secrets.token_hex(16)
        envelope = Envelope(id=id, stream=headers.get(REPLY) == "stream")
        delivery = self._delivery(secrets.token_hex(8), SpeechRequest("-"), envelope, msg.reply)
        with suppress(nats.errors.Error):
            await delivery.fail(exc)

    async def _speak(self, run: SlotRun, request: SpeechRequest, envelope: Envelope, msg: Msg) -> None:
        await run.delivery.accept(self._node.id, self.number, self._node.model)
        audio_s = 0.0
        try:
            help = self._help(run, request, envelope)
            alone = envelope.attempt > 1  # the run that was lost may have died of it
            audio = self._synthesizer.speak(request, help, alone=alone)
            async with run.scope(), aclosing(audio) as pieces:
                async for piece in pieces:
                    if isinstance(piece, EncodedAudio):
                        audio_s += piece.duration_s
                        await run.delivery.audio(piece.data, piece.at)
                    else:
                        await run.delivery.tell(piece)
        except TimeoutError:
            await self._failed(run, self._why_stopped(run))
        except (EngineCrashed, Draining) as exc:
            if envelope.stream or envelope.attempt >= MAX_ATTEMPTS:
                await self._failed(run, exc)
            else:
                _log.warning("the request goes to the group again", run=run.id, code=exc.code)
                self._node.count(run, failed=exc.code)
                self._node.send_again(msg, envelope, run)
        except SpeechError as exc:
            await self._failed(run, exc)
        except Exception:
            if run.cancelled:
                return
            _log.exception("unexpected failure", run=run.id)
            await self._failed(run, SpeechError("unexpected failure in the node; its log says more"))
        else:
            elapsed_s = asyncio.get_running_loop().time() - run.started_at
            self._node.count(run, audio_s=audio_s, elapsed_s=elapsed_s)
            await run.delivery.end(audio_ms=round(audio_s * 1000), synthesis_ms=round(elapsed_s * 1000))

    def _help(self, run: SlotRun, request: SpeechRequest, envelope: Envelope) -> Help | None:
        """Return what this run may ask of other slots; one that helps asks for none."""
        if not request.split or not self._node.settings.helpers:
            return None
        pace = self._synthesizer
        return Help(
            self._node.colleagues, request, envelope, run.deadline, lambda: pace.seconds_per_character
        )

    def _why_stopped(self, run: SlotRun) -> SpeechError:
        if run.cancelled:
            return Cancelled("cancelled by the caller")
        if asyncio.get_running_loop().time() < run.deadline:
            return Draining("the node is leaving and its grace has ended")
        return DeadlineExceeded("the request's budget ended before its audio was complete")

    async def _failed(self, run: SlotRun, exc: SpeechError) -> None:
        if not run.cancelled:
            # Not the text of the failure: an engine's own words may repeat what it was asked to say.
            _log.warning("run failed", run=run.id, code=exc.code, characters=run.characters)
        self._node.count(run, failed=None if run.cancelled else exc.code)
        await run.delivery.fail(exc)
