"""Many inboxes on one subscription: a token each, so that streams of replies find their owner."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.msg import Msg

from antiphon.connection import Connection

Handler = Callable[[Msg], None]
_NO_RESPONDERS: Final = "503"


def is_no_responders(msg: Msg) -> bool:
    """Tell whether the server put this message here because nobody listens on the request's subject."""
    return not msg.data and msg.headers is not None and msg.headers.get("Status") == _NO_RESPONDERS


class Inboxes:
    """The inboxes of one connection. Handlers are called in the order of arrival and must not block."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._handlers: dict[str, Handler] = {}
        self.on_unknown: Handler | None = None

    def __len__(self) -> int:
        return len(self._handlers)

    def open(self, handler: Handler, token: str | None = None) -> str:
        """Register `handler` under a token, a new one unless given, and return the token."""
        token = token or secrets.token_hex(8)
        self._handlers[token] = handler
        return token

    def subject(self, token: str) -> str:
        """Return the reply subject of a token."""
        return f"{self._prefix}.{token}"

    def close(self, token: str) -> None:
        """Forget a token; what arrives for it from now on is unknown."""
        self._handlers.pop(token, None)

    async def _on_message(self, msg: Msg) -> None:
        handler = self._handlers.get(msg.subject.rpartition(".")[2], self.on_unknown)
        if handler is not None:
            handler(msg)


@asynccontextmanager
async def inboxes(connection: Connection) -> AsyncIterator[Inboxes]:
    """Open one wildcard subscription for all inboxes of the connection."""
    prefix = connection.nc.new_inbox()
    boxes = Inboxes(prefix)
    await connection.established()
    await connection.nc.subscribe(f"{prefix}.*", cb=boxes._on_message)
    yield boxes
