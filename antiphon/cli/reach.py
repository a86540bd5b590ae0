"""Whether a server answers: NATS, and one path of an HTTP server."""

from __future__ import annotations

import asyncio
from typing import Final

import click

from antiphon.cli.environment import Nats

_CONNECT_S: Final = 3.0
_HTTP_S: Final = 2.0


def check(nats: Nats) -> None:
    """Connect to NATS once. Raise a ClickException of one sentence, without credentials, if that fails."""
    from antiphon.connection import connected
    from antiphon.errors import NotConnected

    async def connect() -> None:
        async with connected(nats.urls, name="antiphon", within_s=_CONNECT_S, **nats.options()):
            return

    try:
        asyncio.run(connect())
    except NotConnected as exc:
        raise click.ClickException(f"{str(exc)[:1].upper()}{str(exc)[1:]}.") from None


async def http_get(host: str, port: int, path: str) -> tuple[int, bytes] | None:
    """Return status and body of GET `path`; None when nobody answers in time."""
    request = f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n"
    try:
        async with asyncio.timeout(_HTTP_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(request.encode())
                head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            finally:
                writer.close()
        return int(head.split()[1]), body
    except (OSError, TimeoutError, ValueError, IndexError):
        return None
