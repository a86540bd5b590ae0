"""Whether a server answers: NATS, and one path of an HTTP server."""

from __future__ import annotations

import asyncio
from typing import Final

import click

_CONNECT_S: Final = 5.0
_HTTP_S: Final = 2.0


def check(nats_url: str) -> None:
    """Connect to NATS once. Raise a ClickException of one sentence, without credentials, if that fails."""
    from antiphon.connection import connected
    from antiphon.errors import NotConnected

    async def connect() -> None:
        async with connected(nats_url, name="antiphon", within_s=_CONNECT_S):
            return

    try:
        asyncio.run(connect())
    except (NotConnected, ValueError) as exc:
        raise click.ClickException(f"{str(exc)[:1].upper()}{str(exc)[1:]}.") from None


async def http_status(host: str, port: int, path: str) -> int | None:
    """Return the status of GET `path`; None when nobody answers in time."""
    try:
        async with asyncio.timeout(_HTTP_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                status_line = await reader.readline()
            finally:
                writer.close()
        return int(status_line.split()[1])
    except (OSError, TimeoutError, ValueError, IndexError):
        return None
