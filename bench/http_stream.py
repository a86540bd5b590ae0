"""Replies of unknown length, read as they come, and as slowly as one likes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

LITTLE_BYTES = 4096
"""Receive buffer of a client that is to be slow: the kernel must not take the audio in its place."""


class Stream:
    """The body of one reply with chunked transfer coding. Raises RuntimeError at a status that is not 200."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._in_chunk = 0
        self.ended = False
        """Whether the last chunk has come."""

    async def begin(self) -> None:
        """Read the head."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        if head[9:12] != b"200" or b"transfer-encoding: chunked" not in head.lower():
            raise RuntimeError(f"no stream: {head!r} {await self._reader.read(500)!r}")

    async def read(self, most: int = 65536) -> bytes:
        """Return what has come of the body, once there is some of it; nothing at its end."""
        if self.ended:
            return b""
        if not self._in_chunk:
            self._in_chunk = int((await self._reader.readuntil(b"\r\n")).partition(b";")[0], 16)
            if not self._in_chunk:
                self.ended = True
                return b""
        data = await self._reader.read(min(most, self._in_chunk))
        if not data:
            raise ConnectionResetError("the connection ended before the reply did")
        self._in_chunk -= len(data)
        if not self._in_chunk:
            await self._reader.readexactly(2)
        return data

    async def rest(self) -> int:
        """Read to the end; return how many bytes came."""
        n_bytes = 0
        while data := await self.read():
            n_bytes += len(data)
        return n_bytes


@asynccontextmanager
async def streamed(
    port: int, path: str, body: dict[str, object], *, slow: bool = False
) -> AsyncIterator[Stream]:
    """POST on a connection of its own; the head of the reply is read by `begin`. Leaving hangs up."""
    limit = LITTLE_BYTES if slow else 65536
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        if slow:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, LITTLE_BYTES)
        writer.write(_post(path, body))
        yield Stream(reader)
    finally:
        writer.transport.abort()


def _post(path: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content
