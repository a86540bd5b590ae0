"""A NATS client of a few lines over a bare socket: nothing of the project's own, and no client library."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import msgpack
import pytest

GUARD_S: Final = 30.0
"""Bound on every wait of a test: against hanging, far above what is expected."""


@dataclass(frozen=True)
class Message:
    """One message as it came. status: of a message of the server's own, such as 503; else empty."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str] = field(default_factory=dict)
    status: str = ""

    @property
    def value(self) -> Any:
        """The payload as msgpack."""
        return msgpack.unpackb(self.data)


Received = asyncio.Queue[Message]


class BareNats:
    """One connection. Every subscription has a queue of what has come for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.inbox = f"_INBOX.{secrets.token_hex(8)}"
        self.max_payload = 0
        self._reader = reader
        self._writer = writer
        self._received: dict[str, Received] = {}
        self._pongs: asyncio.Queue[None] = asyncio.Queue()

    async def greet(self) -> None:
        """Answer the server's INFO; switch headers and no responders on."""
        info = (await self._reader.readline()).decode()
        assert info.startswith("INFO ")
        self.max_payload = json.loads(info[5:])["max_payload"]
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "protocol": 1}
        self._writer.write(f"CONNECT {json.dumps(options)}\r\n".encode())

    async def flush(self) -> None:
        """Return when the server has handled all that was sent."""
        self._writer.write(b"PING\r\n")
        await asyncio.wait_for(self._pongs.get(), GUARD_S)

    def subscribe(self, subject: str, *, queue: str = "", limit: int = 0) -> Received:
        """Subscribe; with a limit for so many messages only: both lines leave in one write."""
        sid = str(len(self._received) + 1)
        self._received[sid] = asyncio.Queue()
        lines = f"SUB {subject} {queue} {sid}\r\n" + (f"UNSUB {sid} {limit}\r\n" if limit else "")
        self._writer.write(lines.encode())
        return self._received[sid]

    def unsubscribe(self, received: Received) -> None:
        """Take a subscription back."""
        sid = next(sid for sid, each in self._received.items() if each is received)
        self._writer.write(f"UNSUB {sid}\r\n".encode())

    def publish(
        self, subject: str, data: bytes = b"", *, reply: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send one message."""
        if headers is None:
            self._writer.write(f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n")
            return
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        block = f"NATS/1.0\r\n{lines}\r\n".encode()
        sizes = f"{len(block)} {len(block) + len(data)}"
        self._writer.write(f"HPUB {subject} {reply} {sizes}\r\n".encode() + block + data + b"\r\n")

    def send(self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Received:
        """Publish with a reply subject of its own; return what comes there."""
        reply = f"{self.inbox}.{secrets.token_hex(4)}"
        received = self.subscribe(reply)
        self.publish(subject, data, reply=reply, headers=headers)
        return received

    async def request(
        self, subject: str, data: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Message:
        """Return the first reply."""
        return await asyncio.wait_for(self.send(subject, data, headers).get(), GUARD_S)

    def vanish(self) -> None:
        """Close the connection as the kernel closes it for a process that was killed."""
        self._writer.transport.abort()

    async def read(self) -> None:
        """Hand out what comes until the connection ends."""
        try:
            while line := await self._reader.readline():
                await self._on_line(line.decode())
        except ConnectionError:
            return

    async def _on_line(self, line: str) -> None:
        verb, *words = line.split()
        if verb == "PING":
            self._writer.write(b"PONG\r\n")
        elif verb == "PONG":
            self._pongs.put_nowait(None)
        elif verb in ("MSG", "HMSG"):
            n_sizes = 1 if verb == "MSG" else 2
            subject, sid, *reply = words[:-n_sizes]
            body = (await self._reader.readexactly(int(words[-1]) + 2))[:-2]
            n_head = int(words[-2]) if verb == "HMSG" else 0
            first, *lines = body[:n_head].decode().split("\r\n") if n_head else [""]
            headers = dict(line.split(": ", 1) for line in lines if line)
            status = first.removeprefix("NATS/1.0").split()[:1]
            message = Message(subject, "".join(reply), body[n_head:], headers, "".join(status))
            self._received[sid].put_nowait(message)
        else:
            assert verb in ("INFO", "+OK"), line


@asynccontextmanager
async def bare_connection(nats_url: str) -> AsyncIterator[BareNats]:
    """Connect to a server without credentials."""
    host, _, port = nats_url.removeprefix("nats://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**24)
    nats = BareNats(reader, writer)
    await nats.greet()
    reading = asyncio.create_task(nats.read())
    try:
        await nats.flush()
        yield nats
    finally:
        writer.close()
        await asyncio.wait_for(reading, GUARD_S)


@pytest.fixture
async def bare(nats_url: str) -> AsyncIterator[BareNats]:
    """A bare connection to the session's server."""
    async with bare_connection(nats_url) as nats:
        yield nats
