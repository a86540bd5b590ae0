"""A synth node: joins the group with its slots, tells how it is, and leaves without losing anything."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import socket
import time
from contextlib import suppress
from typing import Final

import nats.errors
import structlog
from nats.aio.msg import Msg

import antiphon
from antiphon.background import Spawn, background
from antiphon.cluster import Cluster
from antiphon.connection import Connection
from antiphon.errors import MalformedMessage
from antiphon.heartbeat import (
    State,
    decode_waiting,
    encode_heartbeat,
    encode_voices,
)
from antiphon.inbox import Inboxes
from antiphon.request import Envelope
from antiphon.strays import Strays
from antiphon.subjects import VOICES_QUEUE, Subjects, model_name, token_from
from synth_node.config import SynthSettings
from synth_node.delivery import Buffer
from synth_node.discovery import Discovery
from synth_node.engine_info import EngineInfo
from synth_node.engine_settings import EngineSettings
from synth_node.help import Colleagues
from synth_node.host import EngineUnavailable
from synth_node.hosts import Hosts
from synth_node.presence import Presence
from synth_node.resend import send_again
from synth_node.runs import Runs
from synth_node.slot import Slot
from synth_node.slot_run import SlotRun
from synth_node.synthesizer import Synthesizer
from synth_node.tally import Tally

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
        self.runs = Runs(connection, inboxes, spawn)
        self.hosts = Hosts(settings, engine_settings, self.engine_started)
        self.slots = [Slot(self, number, self._synthesizer(number)) for number in range(settings.slots)]
        self.state: State = "starting"
        self.voices_hash = ""
        self._info: EngineInfo | None = None
        self._unstarted: dict[int, EngineUnavailable] = {}
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
        self.spawn(self.runs.keep_alive(), "progress of runs")
        slots = {slot: self.spawn(slot.run(stopping), f"slot {slot.number}") for slot in self.slots}
        await stop.wait()
        await self._drain(slots, stopping)
        self.state = "left"
        await self.presence.send()

    async def _drain(self, slots: dict[Slot, asyncio.Task[None]], stopping: asyncio.Future[None]) -> None:
        """Take nothing new, finish what runs within the grace, and stop what is left then."""
        ends_at = time.monotonic() + self.settings.grace_s
        _log.info("draining", node=self.id, running=len(self.runs))
        self.state = "draining"
        stopping.set_result(None)
        self.presence.changed()
        for slot, task in slots.items():
            if slot.state == "starting" or (slot.state == "idle" and not self.connection.nc.is_connected):
                task.cancel()
        await asyncio.wait(slots.values(), timeout=self.settings.grace_s)
        for slot in slots:
            if slot.current is not None:
                slot.current.stop()
        await asyncio.wait(slots.values(), timeout=1.0)
        await self.runs.finished(within_s=max(1.0, ends_at - time.monotonic()))

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
        self.runs.finish_later(work, f"send {run.id} again")

    # -- for callers

    async def _listen(self) -> None:
        nc = self.connection.nc

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
        await nc.subscribe(self.subjects.cancel(self.id), cb=self.runs.on_cancel)
        await nc.subscribe(self.subjects.credit(self.id), cb=self.runs.on_credit)
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
        """Answer for the model's voices, once they are known; who has the answer knows the node as ready."""
        nc = self.connection.nc

        async def on_voices(msg: Msg) -> None:
            if msg.reply and self._info is not None:
                await nc.publish(msg.reply, self._voices(self._info))

        await self.connection.established()
        await self.presence.send()
        await nc.subscribe(self.subjects.voices(self.model), queue=VOICES_QUEUE, cb=on_voices)

    def _voices(self, info: EngineInfo) -> bytes:
        return encode_voices(self.model, info.voices, info.aliases)

    async def _on_reconnect(self) -> None:
        """Announce the slots that are back in the queue group, and the node."""
        for _ in (slot for slot in self.slots if slot.state == "idle"):
            await self.announce_free()
        self.presence.changed()
