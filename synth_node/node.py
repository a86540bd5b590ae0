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
from typing import Any, Final

import nats.errors
import structlog
from nats.aio.msg import Msg

import antiphon
from antiphon.background import Spawn, background
from antiphon.cluster import Cluster
from antiphon.connection import Connection
from antiphon.errors import MalformedMessage
from antiphon.feedback import decode_cancel, decode_credit
from antiphon.heartbeat import (
    State,
    decode_waiting,
    encode_heartbeat,
    encode_voices,
)
from antiphon.inbox import Inboxes, is_no_responders
from antiphon.request import Envelope
from antiphon.strays import Strays
from antiphon.subjects import VOICES_QUEUE, Subjects, model_name, token_from
from synth_node.config import SynthSettings
from synth_node.delivery import Buffer
from synth_node.discovery import Discovery
from synth_node.engine_info import EngineInfo
from synth_node.engine_settings import EngineSettings
from synth_node.help import Colleagues
from synth_node.hosts import Hosts
from synth_node.presence import Presence
from synth_node.resend import send_again
from synth_node.slot import Slot
from synth_node.slot_run import SlotRun
from synth_node.stream_delivery import StreamDelivery
from synth_node.synthesizer import EngineUnavailable, Synthesizer
from synth_node.tally import Tally

PROGRESS_S: Final = 0.25
"""Silence on a stream after which the caller is told that the run is alive; looked at as often."""
RETURN_S: Final = 2.0
"""Time after a (re)connect in which a caller that is not there is held to be on its way back too."""
_log: Final = structlog.get_logger("synth_node")


class SynthNode:
    """One node on one connection.

    id: unique per boot, the node's address. name: shown to people.
    """

    def __init__(
        self,
        connection: Connection,
        inboxes: Inboxes,
        spawn: Spawn,
        settings: SynthSettings,
        engine_settings: EngineSettings | None = None,
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
        self.buffer = Buffer(settings.buffer_total_bytes)
        self.hosts = Hosts(settings, engine_settings, self.engine_started)
        self.slots = [Slot(self, number, self._synthesizer(number)) for number in range(settings.slots)]
        self.state: State = "starting"
        self.voices_hash = ""
        self._info: EngineInfo | None = None
        self._unstarted: dict[int, EngineUnavailable] = {}
        self._runs: dict[str, SlotRun] = {}
        self._rests: set[asyncio.Task[None]] = set()
        self._callers = Cluster()
        self.colleagues = Colleagues(
            connection, inboxes, self.subjects, self.model, settings.helpers, self._callers_wait
        )
        self.presence = Presence(self)

    def _synthesizer(self, number: int) -> Synthesizer:
        settings = self.settings
        return Synthesizer(
            self.hosts.of_slot(number),
            slot=number,
            max_audio_s=settings.max_audio_s,
            bit_rate=settings.bit_rate,
            segment_characters=settings.segment_characters,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`, then finish what runs, within the grace.

        An engine that cannot be started at all ends the tasks' owner with EngineUnavailable.
        """
        async with self.hosts, background() as spawn:
            for work, name in self.hosts.works():
                spawn(work, name)
            await self._serve(stop)

    async def _serve(self, stop: asyncio.Event) -> None:
        stopping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._listen()
        self.inboxes.on_unknown = Strays(self.connection, self.spawn).on_unknown
        self.connection.on_reconnect(self._on_reconnect)
        self.spawn(self.presence.run(), "heartbeats")
        self.spawn(self._keep_alive(), "progress of runs")
        slots = {slot: self.spawn(slot.run(stopping), f"slot {slot.number}") for slot in self.slots}
        await stop.wait()
        await self._drain(slots, stopping)
        self.state = "left"
        await self.presence.send()

    async def _drain(self, slots: dict[Slot, asyncio.Task[None]], stopping: asyncio.Future[None]) -> None:
        """Take nothing new, finish what runs within the grace, and stop what is left then."""
        ends_at = time.monotonic() + self.settings.grace_s
        _log.info("draining", node=self.id, running=len(self._runs))
        self.state = "draining"
        stopping.set_result(None)
        self.presence.changed()
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
        """Note what an engine says of itself, at its start or anew; the first one makes the node ready."""
        self._info = info
        self.voices_hash = hashlib.sha256(self._voices(info)).hexdigest()[:16]
        if self.state == "starting":
            self.state = "ready"
            self.spawn(self._tell_voices(), "join the voices")
            _log.info("ready", node=self.id, model=self.model, slots=len(self.slots), engine=info.name)
        self.presence.changed()

    def gives_up_on(self, slot: Slot, exc: EngineUnavailable) -> bool:
        """Tell whether an engine that does not start ends the node: when no slot's engine ever started."""
        self._unstarted[slot.number] = exc
        return self._info is None and len(self._unstarted) == len(self.slots)

    async def announce_free(self) -> None:
        """Wake one caller that waits for a slot of this model."""
        with suppress(nats.errors.Error):
            await self.connection.nc.publish(self.subjects.free(self.model))

    def _callers_wait(self) -> bool:
        """Tell whether any caller waits for a slot of this model."""
        now = asyncio.get_running_loop().time()
        return self._callers.waiting(now, self.model).waiting > 0

    def register(self, run: SlotRun) -> None:
        """Let cancels, credit and the caller's absence reach `run`."""
        self._runs[run.id] = run

        def on_message(msg: Msg) -> None:
            # No responders: the caller's process is gone. Anything else here is its cancel.
            if not is_no_responders(msg) or self.connection.connected_for_s > RETURN_S:
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
        self, run: SlotRun, *, failed: str | None = None, audio_s: float = 0.0, elapsed_s: float = 0.0
    ) -> None:
        """Count a run that failed with a code, or was made in `elapsed_s`; a cancelled one is neither."""
        if failed is not None:
            self.tally.failed += 1
            self.tally.last_error = failed
        elif elapsed_s > 0:
            self.tally.add(seconds=elapsed_s, characters=run.characters, audio_s=audio_s)

    def send_again(self, msg: Msg, envelope: Envelope, run: SlotRun) -> None:
        """Give a plain request whose engine crashed to the group again, and its caller the answer."""
        work = send_again(
            self.connection,
            self.inboxes,
            self.synth_subject,
            msg,
            envelope,
            run.delivery,
            deadline=run.deadline,
        )
        self._finish_later(work, f"send {run.id} again")

    # -- for callers

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
                    run.delivery.credit(credit.bytes, credit.total)

        async def on_status(msg: Msg) -> None:
            if msg.reply:
                await nc.publish(msg.reply, encode_heartbeat(self.presence.heartbeat()))

        async def on_waiting(msg: Msg) -> None:
            with suppress(MalformedMessage):
                _, model, caller = msg.subject.rsplit(".", 2)
                now = asyncio.get_running_loop().time()
                self._callers.heard_waiting(model, caller, decode_waiting(msg.data), now)

        await self.connection.established()
        await nc.subscribe(self.subjects.waiting_all, cb=on_waiting)
        await nc.subscribe(self.subjects.cancel(self.id), cb=on_cancel)
        await nc.subscribe(self.subjects.credit(self.id), cb=on_credit)
        await nc.subscribe(self.subjects.status, cb=on_status)
        discovery = Discovery(
            self.id,
            version=antiphon.__version__,
            subject=self.synth_subject,
            metadata={"name": self.name, "model": self.model},
            stats=self.presence.stats,
        )
        await discovery.serve(self.connection)

    async def _tell_voices(self) -> None:
        """Answer for the model's voices, once they are known."""
        nc = self.connection.nc

        async def on_voices(msg: Msg) -> None:
            if msg.reply and self._info is not None:
                await nc.publish(msg.reply, self._voices(self._info))

        await self.connection.established()
        await nc.subscribe(self.subjects.voices(self.model), queue=VOICES_QUEUE, cb=on_voices)

    def _voices(self, info: EngineInfo) -> bytes:
        return encode_voices(self.model, info.voices, info.aliases)

    async def _on_reconnect(self) -> None:
        """Announce the slots that are back in the queue group, and the node."""
        for _ in (slot for slot in self.slots if slot.state == "idle"):
            await self.announce_free()
        self.presence.changed()
