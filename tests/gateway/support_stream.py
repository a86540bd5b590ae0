"""A client of the voice stream for tests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientWebSocketResponse, WSMsgType

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway

PATH: Final = "/v1/audio/stream"
MS_PER_CHARACTER: Final = 60
"""Of the tone."""
BYTES_PER_MS: Final = 48
"""Of pcm at 24 kHz."""
GUARD_S: Final = 20

UPGRADE: Final = (
    f"GET {PATH} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()

Marks = list[dict[str, Any]]


class Stream:
    """A client that is connected. close_code, reason: of the gateway's close frame, once it came."""

    def __init__(self, ws: ClientWebSocketResponse) -> None:
        self.ws = ws
        self.close_code: int | None = None
        self.reason = ""

    async def say(self, **message: Any) -> None:
        """Send one message."""
        await self.ws.send_json(message)

    async def next(self) -> dict[str, Any] | bytes | None:
        """Return the next mark or audio; None at the end."""
        async with asyncio.timeout(GUARD_S):
            message = await self.ws.receive()
        match message.type:
            case WSMsgType.TEXT:
                return dict(json.loads(message.data))
            case WSMsgType.BINARY:
                return bytes(message.data)
            case WSMsgType.CLOSE:
                self.close_code, self.reason = message.data, message.extra or ""
        return None

    async def until(self, kind: str) -> tuple[Marks, bytes]:
        """Return the marks until the first of this kind, it included, and the audio between them."""
        marks, audio = await self._collect(kind)
        assert marks, f"no {kind}, closed with {self.close_code} {self.reason}"
        assert marks[-1]["type"] == kind, f"no {kind} in {marks}, closed with {self.close_code} {self.reason}"
        return marks, audio

    async def rest(self) -> tuple[Marks, bytes]:
        """Return the marks and the audio until the end."""
        return await self._collect(None)

    async def _collect(self, kind: str | None) -> tuple[Marks, bytes]:
        marks: Marks = []
        audio = b""
        while (item := await self.next()) is not None:
            if isinstance(item, bytes):
                audio += item
                continue
            marks.append(item)
            if item["type"] == kind:
                break
        return marks, audio


@asynccontextmanager
async def stream_at(gateway: Gateway, *, autoping: bool = True, **query: str) -> AsyncIterator[Stream]:
    """Open a stream with these options."""
    async with gateway.http.ws_connect(PATH, params=query, autoping=autoping) as ws:
        yield Stream(ws)


async def slow_client(gateway: Gateway) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a stream on which hardly anything arrives that is not read."""
    host, _, port = gateway.server.url.removeprefix("http://").rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
    writer.write(UPGRADE)
    return reader, writer


def frame(**message: Any) -> bytes:
    """Return a message as the bytes of a text frame, masked with zeros."""
    text = json.dumps(message).encode()
    assert len(text) < 65536
    return b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text


def kinds(marks: Marks) -> list[str]:
    """Return what the marks say, in order."""
    return [mark["type"] for mark in marks]


async def busy_slots(gateway: Gateway, model: str, n: int) -> None:
    """Wait until so many slots of a model are busy."""
    busy = -1
    async with asyncio.timeout(GUARD_S):
        while busy != n:
            async with gateway.http.get("/check_tts_status") as reply:
                busy = (await reply.json())["models"].get(model, {}).get("busy")


def spoken(marks: Marks) -> list[str]:
    """Return the texts of the segments that were begun."""
    return [mark["text"] for mark in marks if mark["type"] == "segment_started"]
