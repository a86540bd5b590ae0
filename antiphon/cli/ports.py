"""Ports to listen on: whether one is free, and keeping one that is."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

ANY: Final = -1
"""Lets nats-server choose."""


def check(host: str, port: int, what: str) -> None:
    """Raise a ClickException of one sentence if `what` could not listen on host and port now."""
    try:
        with _bound(host, port):
            pass
    except OSError as exc:
        in_use = exc.errno == errno.EADDRINUSE
        reason = "the port is already in use" if in_use else (exc.strerror or str(exc))
        raise click.ClickException(f"{what} cannot listen on {host}:{port}: {reason}.") from None


def free_or_any(host: str, port: int) -> int:
    """Return `port`, or ANY if somebody listens there."""
    try:
        _bound(host, max(port, 0)).close()
    except OSError:
        return ANY
    return port


@contextmanager
def kept(host: str, port: int) -> Iterator[int]:
    """Yield `port`, or for 0 a free one that nobody else is given until the block ends.

    The program that it is for can listen there meanwhile, if it sets SO_REUSEADDR as servers do.
    """
    if port:
        yield port
        return
    with _bound(host, 0) as held:
        yield int(held.getsockname()[1])


def _bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to host and port, not listening: that would be in the way of who is to listen.

    Raises:
        OSError: somebody listens there, or the address is not ours.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
