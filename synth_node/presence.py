"""What a node tells of itself: heartbeats, the state file, and the numbers of service discovery."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import nats.errors
import structlog

import antiphon
from antiphon.heartbeat import Heartbeat, Running, encode_heartbeat
from synth_node.delivery import short_text
from synth_node.health import write_state

if TYPE_CHECKING:
    from synth_node.node import SynthNode

_BEAT_SPACING_S: Final = 0.1
_log: Final = structlog.get_logger("synth_node")


class Presence:
    """A node's account of itself, sent every interval and soon after every change."""

    def __init__(self, node: SynthNode) -> None:
        self._node = node
        self._boot = time.time()
        self._seq = 0
        self._written = True
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Have a heartbeat sent soon."""
        self._changed.set()

    async def run(self) -> None:
        """Send a heartbeat every interval, and soon after every change."""
        while True:
            await self.send()
            if any(slot.state == "idle" for slot in self._node.slots):
                await self._node.announce_free()  # finds again what a crashed or frozen caller swallowed
            await asyncio.sleep(_BEAT_SPACING_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._node.settings.heartbeat_s - _BEAT_SPACING_S):
                    await self._changed.wait()
            self._changed.clear()

    async def send(self) -> None:
        """Send one heartbeat, and write it down for the health check."""
        beat = self.heartbeat()
        with suppress(nats.errors.Error):
            if self._node.connection.nc.is_connected:
                subject = self._node.subjects.heartbeat(self._node.model, self._node.id)
                await self._node.connection.nc.publish(subject, encode_heartbeat(beat))
        if self._node.settings.state_file is not None:
            self._write_down(Path(self._node.settings.state_file), beat)

    def _write_down(self, path: Path, beat: Heartbeat) -> None:
        try:
            write_state(
                path,
                node=beat.node,
                state=beat.state,
                slots=beat.idle + beat.busy,
                paused=beat.paused,
                connected=self._node.connection.nc.is_connected,
                interval_s=beat.interval_s,
            )
            self._written = True
        except OSError as exc:
            if self._written:
                _log.warning("state file not written", path=str(path), error=str(exc))
            self._written = False

    def heartbeat(self) -> Heartbeat:
        """Return the node's account of itself, now."""
        self._seq += 1
        now = asyncio.get_running_loop().time()
        running = [slot.current for slot in self._node.slots if slot.current is not None]
        return Heartbeat(
            node=self._node.id,
            name=self._node.name,
            boot=self._boot,
            seq=self._seq,
            model=self._node.model,
            state=self._node.state,
            slots=len(self._node.slots),
            idle=sum(slot.state == "idle" for slot in self._node.slots),
            busy=sum(slot.state == "busy" for slot in self._node.slots),
            running=tuple(Running(run.id, run.characters, now - run.started_at) for run in running),
            interval_s=self._node.settings.heartbeat_s,
            synthesized=self._node.tally.synthesized,
            failed=self._node.tally.failed,
            seconds_per_character=self._node.tally.seconds_per_character,
            real_time_factor=self._node.tally.real_time_factor,
            version=antiphon.__version__,
            voices_hash=self._node.voices_hash,
            paused=short_text(self._node.hosts.paused_for or ""),
            pause_s=self._node.hosts.pause_left_s,
        )

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the endpoint for service discovery."""
        tally = self._node.tally
        busy_ns = round(tally.busy_s * 1e9)
        return {
            "num_requests": tally.synthesized + tally.failed,
            "num_errors": tally.failed,
            "last_error": tally.last_error,
            "processing_time": busy_ns,
            "average_processing_time": busy_ns // max(tally.synthesized, 1),
            "data": {
                "slots": len(self._node.slots),
                "idle": sum(slot.state == "idle" for slot in self._node.slots),
                "busy": sum(slot.state == "busy" for slot in self._node.slots),
            },
        }
