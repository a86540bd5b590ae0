"""The runs of a node, from their acceptance until all of their audio is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from typing import Any, Final

import nats.errors
from nats.aio.msg import Msg

from antiphon.background import Spawn
from antiphon.connection import Connection
from antiphon.errors import MalformedMessage
from antiphon.feedback import decode_cancel, decode_credit
from antiphon.inbox import Inboxes, is_no_responders
from synth_node.slot_run import SlotRun
from synth_node.stream_delivery import StreamDelivery

PROGRESS_S: Final = 0.25
"""Silence on a stream after which the caller is told that the run is alive; looked at as often."""
RETURN_S: Final = 2.0
"""Time after a (re)connect in which a caller that is not there is held to be on its way back too."""


class Runs:
    """The runs that a node has accepted. A slot is free already when the rest of its run is delivered."""

    def __init__(self, connection: Connection, inboxes: Inboxes, spawn: Spawn) -> None:
        self._connection = connection
        self._inboxes = inboxes
        self._spawn = spawn
        self._runs: dict[str, SlotRun] = {}
        self._rests: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[SlotRun]:
        return iter(list(self._runs.values()))

    def register(self, run: SlotRun) -> None:
        """Let cancels, credit and the caller's absence reach `run`."""
        self._runs[run.id] = run

        def on_message(msg: Msg) -> None:
            # No responders: the caller's process is gone. Anything else here is its cancel.
            if not is_no_responders(msg) or self._connection.connected_for_s > RETURN_S:
                run.cancel()

        self._inboxes.open(on_message, token=run.id)

    def finish(self, run: SlotRun) -> None:
        """Forget `run` once its audio is delivered; the slot is free already."""
        if run.delivery.is_complete:
            self._forget(run)
        else:
            self.finish_later(self._deliver_rest(run), f"rest of {run.id}")

    def finish_later(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Start what outlives its slot; `finished` waits for it."""
        task = self._spawn(work, name)
        self._rests.add(task)
        task.add_done_callback(self._rests.discard)

    async def finished(self, within_s: float) -> None:
        """Return when nothing that has outlived its slot is left, or after so many seconds."""
        if self._rests:
            await asyncio.wait(self._rests, timeout=within_s)

    def _forget(self, run: SlotRun) -> None:
        self._runs.pop(run.id, None)
        self._inboxes.close(run.id)

    async def _deliver_rest(self, run: SlotRun) -> None:
        try:
            async with asyncio.timeout_at(run.deadline):
                await run.delivery.delivered()
        except (TimeoutError, nats.errors.Error):
            run.cancel()
        finally:
            self._forget(run)

    async def keep_alive(self) -> None:
        """Tell the callers of silent streams that their runs are alive."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PROGRESS_S)
            if not self._connection.nc.is_connected:
                continue
            for run in self:
                delivery = run.delivery
                silent_since = loop.time() - PROGRESS_S
                if isinstance(delivery, StreamDelivery) and delivery.last_sent_at <= silent_since:
                    with suppress(nats.errors.Error):
                        await delivery.progress()

    async def on_cancel(self, msg: Msg) -> None:
        """Cancel the run that a message names."""
        with suppress(MalformedMessage):
            if run := self._runs.get(decode_cancel(msg.data).run):
                run.cancel()

    async def on_credit(self, msg: Msg) -> None:
        """Grant the run that a message names more audio."""
        with suppress(MalformedMessage):
            credit = decode_credit(msg.data)
            if run := self._runs.get(credit.run):
                run.delivery.credit(credit.bytes, credit.total)
