"""A synth node: joins the group with its slots, tells how it is, and leaves without losing anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
import time
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import nats.errors
import structlog
from nats.aio.msg import Msg

import antiphon
from antiphon.background import Spawn
from antiphon.connection import Connection
from antiphon.errors import AllSlotsBusy, MalformedMessage
from antiphon.events import decode_cancel, decode_credit
from antiphon.heartbeat import (
    Heartbeat,
    Running,
    State,
    encode_heartbeat,
    encode_voices,
)
from antiphon.inbox import Inboxes, is_no_responders
from antiphon.request import ATTEMPT, BUDGET_MS, Envelope
from antiphon.subjects import VOICES_QUEUE, Subjects, token_from
from synth_node.config import SynthSettings
from synth_node.delivery import StreamDelivery
from synth_node.discovery import Discovery
from synth_node.health import write_state
from synth_node.slot import Slot, SlotRun
from synth_node.synthesizer import EngineInfo, Synthesizer, model_name

PROGRESS_S: Final = 0.25
"""Silence on a stream after which the caller is told that the run is alive; looked at as often."""
_BEAT_SPACING_S: Final = 0.1
_log: Final = structlog.get_logger("synth_node")


class Tally:
    """What a node has done. Means are moving: each utterance counts a twentieth."""

    def __init__(self) -> None:
        self.synthesized = 0
        self.failed = 0
        self.busy_s = 0.0
        self.last_error = ""
        self._means = {"seconds": 0.0, "characters": 0.0, "audio_s": 0.0}

    def add(self, *, seconds: float, characters: int, audio_s: float) -> None:
        """Count a finished utterance."""
        weight = 1.0 if self.synthesized == 0 else 0.05
        new = {"seconds": seconds, "characters": float(characters), "audio_s": audio_s}
        for key, value in new.items():
            self._means[key] += weight * (value - self._means[key])
        self.synthesized += 1
        self.busy_s += seconds

    @property
    def seconds_per_character(self) -> float:
        """Slot seconds per character of text."""
        return self._means["seconds"] / max(self._means["characters"], 1.0)

    @property
    def real_time_factor(self) -> float:
        """Slot seconds per second of audio; 0.0 without audio."""
        return self._means["seconds"] / self._means["audio_s"] if self._means["audio_s"] else 0.0


class SynthNode:
    """One node on one connection.

    id: unique per boot, the node's address. name: shown to people.
    """

    def __init__(
        self, connection: Connection, inboxes: Inboxes, spawn: Spawn, settings: SynthSettings
    ) -> None:
        self.connection = connection
        self.inboxes = inboxes
        self.spawn = spawn
        self.settings = settings
        self.subjects = Subjects(settings.tts_root)
        self.model = settings.model or model_name(settings.engine)
        self.name = settings.node or f"{socket.gethostname()}-{os.getpid()}"
        self.id = f"{token_from(self.name)[:40]}-{secrets.token_hex(4)}"
        self.synth_subject = self.subjects.synth(self.model)
        self.tally = Tally()
        self.slots = [Slot(self, number, self._synthesizer(number)) for number in range(settings.slots)]
        self._state: State = "starting"
        self._info: EngineInfo | None = None
        self._runs: dict[str, SlotRun] = {}
        self._rests: set[asyncio.Task[None]] = set()
        self._boot = time.time()
        self._seq = 0
        self._changed = asyncio.Event()

    def _synthesizer(self, number: int) -> Synthesizer:
        settings = self.settings
        return Synthesizer(
            settings.engine,
            slot=number,
            python=settings.python,
            default_voice=settings.voice,
            idle_s=settings.hang_s,
            max_audio_s=settings.max_audio_s,
            start_timeout_s=settings.start_s,
            bit_rate=settings.bit_rate,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then finish what runs, within the grace.

        An engine that cannot be started at all ends the tasks' owner with EngineUnavailable.
        """
        stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._listen()
        self.connection.on_reconnect(self._on_reconnect)
        self.spawn(self._beat(), "heartbeats")
        self.spawn(self._keep_alive(), "progress of runs")
        slots = {slot: self.spawn(slot.run(stopping), f"slot {slot.number}") for slot in self.slots}
        await stop.wait()
        await self._drain(slots, stopping)
        self._state = "left"
        await self._send_beat()

    async def _drain(self, slots: dict[Slot, asyncio.Task[None]], stopping: asyncio.Future[None]) -> None:
        """Take nothing new, finish what runs within the grace, and stop what is left then."""
        ends_at = time.monotonic() + self.settings.grace_s
        _log.info("draining", node=self.id, running=len(self._runs))
        self._state = "draining"
        stopping.set_result(None)
        self.changed()
        for slot, task in slots.items():
            if slot.state == "starting" or (slot.state == "idle" and not self.connection.nc.is_connected):
                task.cancel()
        await asyncio.wait(slots.values(), timeout=self.settings.grace_s)
        for run in list(self._runs.values()):
            if any(slot.current is run for slot in self.slots):
                run.stop()
        await asyncio.wait(slots.values(), timeout=1.0)
        if self._rests:
            await asyncio.wait(self._rests, timeout=max(1.0, ends_at - time.monotonic()))

    # -- for the slots

    def engine_started(self, info: EngineInfo) -> None:
        """Note what the engine says of itself; the first started slot makes the node ready."""
        self._info = info
        if self._state == "starting":
            self._state = "ready"
            _log.info("ready", node=self.id, model=self.model, slots=len(self.slots), engine=info.name)
        self.changed()

    def changed(self) -> None:
        """Have a heartbeat sent soon."""
        self._changed.set()

    async def announce_free(self) -> None:
        """Wake one caller that waits for a slot of this model."""
        with suppress(nats.errors.Error):
            await self.connection.nc.publish(self.subjects.free(self.model))

    def register(self, run: SlotRun) -> None:
        """Let cancels, credit and the caller's absence reach `run`."""
        self._runs[run.id] = run

        def on_message(msg: Msg) -> None:
            # No responders: the caller's process is gone. Anything else here is its cancel.
            run.cancel()

        self.inboxes.open(on_message, token=run.id)

    def finish(self, run: SlotRun) -> None:
        """Forget `run` once its audio is delivered; the slot is free already."""
        if run.delivery.is_complete:
            self._forget(run)
        else:
            self._finish_later(self._deliver_rest(run), f"rest of {run.id}")

    def _finish_later(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start what outlives its slot; draining waits for it."""
        task = self.spawn(work, name)
        self._rests.add(task)
        task.add_done_callback(self._rests.discard)

    def _forget(self, run: SlotRun) -> None:
        self._runs.pop(run.id, None)
        self.inboxes.close(run.id)

    async def _deliver_rest(self, run: SlotRun) -> None:
        try:
            async with asyncio.timeout_at(run.deadline):
                await run.delivery.delivered()
        except (TimeoutError, nats.errors.Error):
            run.cancel()
        finally:
            self._forget(run)

    def count(
        self, run: SlotRun, *, failed: bool = False, audio_s: float = 0.0, elapsed_s: float = 0.0
    ) -> None:
        """Count a run that is over: failed, cancelled (nothing counts), or synthesized in `elapsed_s`."""
        if failed:
            self.tally.failed += 1
        elif elapsed_s > 0:
            self.tally.add(seconds=elapsed_s, characters=run.characters, audio_s=audio_s)

    def send_again(self, msg: Msg, envelope: Envelope, run: SlotRun) -> None:
        """Give a plain request whose engine crashed to the group again, and its caller the answer."""
        self._finish_later(self._send_again(msg, envelope, run), f"send {run.id} again")

    async def _send_again(self, msg: Msg, envelope: Envelope, run: SlotRun) -> None:
        # The reply comes back here first: only the sender learns that there are no responders.
        loop = asyncio.get_running_loop()
        pause_s = 0.05
        try:
            async with asyncio.timeout_at(run.deadline):
                while True:
                    left_ms = round((run.deadline - loop.time()) * 1000)
                    headers = {
                        **(msg.headers or {}),
                        ATTEMPT: str(envelope.attempt + 1),
                        BUDGET_MS: str(max(left_ms, 0)),
                    }
                    reply = await self._ask_group(msg.data, headers)
                    if not is_no_responders(reply):
                        await self.connection.nc.publish(msg.reply, reply.data, headers=reply.headers)
                        return
                    await asyncio.sleep(pause_s)
                    pause_s = min(2 * pause_s, 1.0)
        except TimeoutError:
            await run.delivery.fail(AllSlotsBusy("the engine crashed and no other slot became free in time"))
        except nats.errors.Error as exc:
            _log.warning("run lost", run=run.id, error=str(exc))

    async def _ask_group(self, payload: bytes, headers: dict[str, str]) -> Msg:
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        token = self.inboxes.open(lambda msg: None if answer.done() else answer.set_result(msg))
        try:
            reply = self.inboxes.subject(token)
            await self.connection.nc.publish(self.synth_subject, payload, reply=reply, headers=headers)
            return await answer
        finally:
            self.inboxes.close(token)

    # -- what the node tells

    async def _beat(self) -> None:
        """Send a heartbeat every interval, and soon after every change."""
        while True:
            await self._send_beat()
            if any(slot.state == "idle" for slot in self.slots):
                await self.announce_free()  # finds again what a crashed or frozen caller swallowed
            await asyncio.sleep(_BEAT_SPACING_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.heartbeat_s - _BEAT_SPACING_S):
                    await self._changed.wait()
            self._changed.clear()

    async def _send_beat(self) -> None:
        beat = self.heartbeat()
        with suppress(nats.errors.Error):
            if self.connection.nc.is_connected:
                subject = self.subjects.heartbeat(self.model, self.id)
                await self.connection.nc.publish(subject, encode_heartbeat(beat))
        if self.settings.state_file is not None:
            write_state(
                Path(self.settings.state_file),
                node=self.id,
                state=beat.state,
                slots=beat.idle + beat.busy,
                connected=self.connection.nc.is_connected,
                interval_s=beat.interval_s,
            )

    def heartbeat(self) -> Heartbeat:
        """Return the node's account of itself, now."""
        self._seq += 1
        now = asyncio.get_running_loop().time()
        running = [slot.current for slot in self.slots if slot.current is not None]
        return Heartbeat(
            node=self.id,
            name=self.name,
            boot=self._boot,
            seq=self._seq,
            model=self.model,
            state=self._state,
            slots=len(self.slots),
            idle=sum(slot.state == "idle" for slot in self.slots),
            busy=sum(slot.state == "busy" for slot in self.slots),
            running=tuple(Running(run.id, run.characters, now - run.started_at) for run in running),
            interval_s=self.settings.heartbeat_s,
            synthesized=self.tally.synthesized,
            failed=self.tally.failed,
            seconds_per_character=self.tally.seconds_per_character,
            real_time_factor=self.tally.real_time_factor,
            version=antiphon.__version__,
            voices_hash=self._voices_hash,
        )

    @property
    def _voices_hash(self) -> str:
        voices = () if self._info is None else self._info.voices
        return hashlib.sha256(encode_voices(self.model, voices)).hexdigest()[:16]

    async def _keep_alive(self) -> None:
        """Tell the callers of silent streams that their runs are alive."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PROGRESS_S)
            if not self.connection.nc.is_connected:
                continue
            for run in list(self._runs.values()):
                delivery = run.delivery
                silent_since = loop.time() - PROGRESS_S
                if isinstance(delivery, StreamDelivery) and delivery.last_sent_at <= silent_since:
                    with suppress(nats.errors.Error):
                        await delivery.progress()

    # -- what the node is told

    async def _listen(self) -> None:
        nc = self.connection.nc

        async def on_cancel(msg: Msg) -> None:
            with suppress(MalformedMessage):
                if run := self._runs.get(decode_cancel(msg.data).run):
                    run.cancel()

        async def on_credit(msg: Msg) -> None:
            with suppress(MalformedMessage):
                credit = decode_credit(msg.data)
                if run := self._runs.get(credit.run):
                    run.delivery.credit(credit.bytes)

        async def on_status(msg: Msg) -> None:
            if msg.reply:
                await nc.publish(msg.reply, encode_heartbeat(self.heartbeat()))

        async def on_voices(msg: Msg) -> None:
            if msg.reply:
                voices = () if self._info is None else self._info.voices
                await nc.publish(msg.reply, encode_voices(self.model, voices))

        await self.connection.established()
        await nc.subscribe(self.subjects.cancel(self.id), cb=on_cancel)
        await nc.subscribe(self.subjects.credit(self.id), cb=on_credit)
        await nc.subscribe(self.subjects.status, cb=on_status)
        await nc.subscribe(self.subjects.voices(self.model), queue=VOICES_QUEUE, cb=on_voices)
        discovery = Discovery(
            self.id,
            version=antiphon.__version__,
            subject=self.synth_subject,
            metadata={"name": self.name, "model": self.model},
            stats=self._stats,
        )
        await discovery.serve(self.connection)

    async def _on_reconnect(self) -> None:
        """Announce the slots that are back in the queue group, and the node."""
        for _ in (slot for slot in self.slots if slot.state == "idle"):
            await self.announce_free()
        self.changed()

    def _stats(self) -> dict[str, Any]:
        tally = self.tally
        busy_ns = round(tally.busy_s * 1e9)
        return {
            "num_requests": tally.synthesized + tally.failed,
            "num_errors": tally.failed,
            "last_error": tally.last_error,
            "processing_time": busy_ns,
            "average_processing_time": busy_ns // max(tally.synthesized, 1),
            "data": {
                "slots": len(self.slots),
                "idle": sum(slot.state == "idle" for slot in self.slots),
                "busy": sum(slot.state == "busy" for slot in self.slots),
            },
        }
