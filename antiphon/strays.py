"""Messages of runs that nobody here wants: answered with a cancel."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from antiphon.background import Spawn
from antiphon.connection import Connection
from antiphon.errors import MalformedMessage
from antiphon.events import End, Failure, decode_event
from antiphon.feedback import Cancel, encode_cancel

_SPACING_S: Final = 1.0
_MAX_REMEMBERED: Final = 1000


class Strays:
    """Cancels stray runs, each at most once a second."""

    def __init__(self, connection: Connection, spawn: Spawn) -> None:
        self.closing = False
        self._connection = connection
        self._spawn = spawn
        self._cancelled_at: dict[str, float] = {}

    def on_unknown(self, msg: Msg) -> None:
        """Answer a message for nobody, such as audio of a run that was given up as lost."""
        with suppress(MalformedMessage):
            run, event = decode_event(msg.data)
            if not isinstance(event, End | Failure):
                self.cancel(msg, run)

    def cancel(self, msg: Msg, run: str) -> None:
        """Tell the sender of an event that nobody here wants its run."""
        now = asyncio.get_running_loop().time()
        if not msg.reply or now - self._cancelled_at.get(msg.reply, -_SPACING_S) < _SPACING_S or self.closing:
            return
        if len(self._cancelled_at) >= _MAX_REMEMBERED:
            self._cancelled_at.clear()
        self._cancelled_at[msg.reply] = now
        self._spawn(self._send(msg.reply, encode_cancel(Cancel(run))), "cancel a stray run")

    async def _send(self, subject: str, payload: bytes) -> None:
        with suppress(nats.errors.Error):  # without a connection there is nobody to tell
            await self._connection.nc.publish(subject, payload)
