"""A lean HTTP/1.1 client over asyncio: on two cores the load generator counts as well."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Final, cast

IDLE_S: Final = 5.0
"""A connection that was idle for longer is not used again: the gateway closes it after 15 s."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply. head: status line and headers as they came."""

    status: int
    head: bytes
    body: bytes


class HttpConnection(asyncio.Protocol):
    """One kept-alive connection, one request at a time; replies need a Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._needed = 0
        self._reply: asyncio.Future[Reply] | None = None

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent on it."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Collect the reply."""
        self._received += data
        if not self._needed:
            end_of_head = self._received.find(b"\r\n\r\n")
            if end_of_head < 0:
                return
            self._needed = end_of_head + 4 + _content_length(bytes(self._received[: end_of_head + 2]))
        if len(self._received) >= self._needed and self._reply is not None:
            head, _, body = bytes(self._received[: self._needed]).partition(b"\r\n\r\n")
            del self._received[: self._needed]
            self._needed = 0
            reply, self._reply = self._reply, None
            if not reply.done():
                reply.set_result(Reply(int(head[9:12]), head, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that waits for its reply."""
        self._transport = None
        if self._reply is not None and not self._reply.done():
            self._reply.set_exception(ConnectionResetError("the connection ended before the reply did"))

    def send(self, request: bytes) -> asyncio.Future[Reply]:
        """Send one request; its reply comes in the future, or ConnectionResetError."""
        if self._transport is None:
            raise ConnectionResetError("the connection has ended")
        self._reply = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._reply

    def close(self) -> None:
        """Close it now, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(b"\r\ncontent-length:")
    if start < 0:
        raise ValueError("a reply without Content-Length")
    return int(lowered[start + 17 : lowered.index(b"\r\n", start + 2)])


def post(text: str, **options: object) -> bytes:
    """Return the bytes of a POST /tts; `options` are further keys of its body."""
    body = json.dumps({"text": text, **options}).encode()
    head = (
        f"POST /tts HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    return head.encode() + b"\r\n\r\n" + body


def get(path: str) -> bytes:
    """Return the bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


async def open_connection(port: int) -> HttpConnection:
    """Connect to the loopback."""
    _, protocol = await asyncio.get_running_loop().create_connection(HttpConnection, "127.0.0.1", port)
    return protocol


class Pool:
    """As many connections to one port as there are requests at a time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._idle: list[tuple[HttpConnection, float]] = []

    async def request(self, request: bytes) -> Reply:
        """Send a request. Raises OSError when the connection ends before the reply did."""
        connection = self._take() or await open_connection(self.port)
        try:
            reply = await connection.send(request)
        except BaseException:
            connection.close()
            raise
        self._idle.append((connection, time.monotonic()))
        return reply

    def _take(self) -> HttpConnection | None:
        """Return the connection that was used last, unless the server may be closing it by now."""
        oldest = time.monotonic() - IDLE_S
        while self._idle:
            connection, idle_since = self._idle.pop()
            if connection.is_open and idle_since > oldest:
                return connection
            connection.close()
        return None
