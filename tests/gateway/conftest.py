"""A gateway in the test's own loop, and HTTP as bytes for what no HTTP library would send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import ClientSession

from gateway.app import make_app
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.server import HttpServer, listening


@dataclass(frozen=True)
class Gateway:
    """A gateway that listens. http: a client session with its address as the base."""

    server: HttpServer
    link: Link
    http: ClientSession

    async def raw(self, request: bytes) -> RawReply:
        """Send bytes and read until the connection ends."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await self.read(reader)
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> RawReply:
        """Read until the end of the connection, at most ten seconds."""
        data, reset = b"", False
        async with asyncio.timeout(10):
            try:
                while part := await reader.read(65536):
                    data += part
            except ConnectionResetError:
                reset = True
        head, _, body = data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        status = int(status_line.split()[1]) if status_line else 0
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        return RawReply(status, headers, body, reset)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a bare connection."""
        host, _, port = self.server.url.removeprefix("http://").rpartition(":")
        return await asyncio.open_connection(host, int(port))


@dataclass(frozen=True)
class RawReply:
    """All that came on one connection. reset: it ended in a reset, not in order."""

    status: int
    headers: dict[str, str]
    body: bytes
    reset: bool

    @property
    def error(self) -> dict[str, Any]:
        """The error of the one JSON shape."""
        return dict(json.loads(self.body)["error"])


GatewayFactory = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def gateway_at() -> GatewayFactory:
    """Start a gateway on a free port with these settings; it speaks through nothing until its link is set."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Gateway]:
        link = Link()
        config = GatewaySettings(**{"port": 0, "keepalive_s": 5.0, "grace_s": 2.0, **settings})
        async with (
            listening(make_app(link, config), config) as server,
            ClientSession(server.url) as session,
        ):
            yield Gateway(server, link, session)

    return start
