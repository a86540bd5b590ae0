"""A NATS connection as a context manager: one server at a time, endless reconnects, closed is fatal."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.client import Server as PooledServer
from nats.aio.msg import Msg

from antiphon.errors import NotConnected
from antiphon.servers import address, redacted, server_list

_log: Final = logging.getLogger(__name__)
_PATIENCE: Final = 8
"""Failed attempts at a server before the next one is tried; about two seconds."""

ReconnectHook = Callable[[], Awaitable[None]]


class OrderedClient(Client):
    """nats-py's client, with every flush behind all that was sent before it, and safe to give up.

    nats-py writes a flush's PING past its own buffer: the answer could come while a subscription, or the end
    of one in drain(), was still on its way, and drain() threw away what the server delivered until then.
    """

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        await self._flush_pending(force_flush=True)
        await super()._send_ping(future)

    async def _connect_to_server(self, s: Any) -> None:
        # An attempt that failed in the handshake left its socket open.
        if self._transport:
            self._transport.close()  # type: ignore[no-untyped-call]
        await super()._connect_to_server(s)

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        sub = self._subs.get(sid)
        try:
            await super()._process_msg(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            # Anybody may send bytes that are no text; nats-py would stop reading. Whoever waits for just this
            # message gets an empty one.
            if sub is not None and sub._future is not None and not sub._future.done():
                sub._future.set_result(Msg(_client=self, subject=sub.subject))

    async def _process_pong(self) -> None:
        # A flush that was given up left its future behind: its late PONG would end nats-py's reading.
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()


class Connection:
    """A connected NATS client, and what nats-py does not tell: since when, and again after which reconnect.

    nc: the client. closed: set when the connection is closed for good; the process should end then.
    """

    def __init__(self) -> None:
        self.nc: Client = OrderedClient()
        self.closed = asyncio.Event()
        self._up = asyncio.Event()
        self._connected_at = 0.0
        self._hooks: list[ReconnectHook] = []
        self._warned = ""
        self.rtt_s = 0.001

    @property
    def connected_for_s(self) -> float:
        """Seconds since the connection was made or made again; 0.0 while there is none."""
        return asyncio.get_running_loop().time() - self._connected_at if self.nc.is_connected else 0.0

    @property
    def reconnected_for_s(self) -> float:
        """Seconds since the last reconnect: peers may need as long to be back. Infinite if there was none."""
        return self.connected_for_s if self.nc.stats["reconnects"] else math.inf

    async def established(self) -> None:
        """Wait until the connection is up.

        A subscription made while reconnecting loses its limit: await this first, and nothing else in between.

        Raises:
            NotConnected: the connection is closed for good.
        """
        while not self.nc.is_connected:
            if self.nc.is_closed:
                raise NotConnected("the NATS connection is closed")
            self._up.clear()
            await self._up.wait()

    def on_reconnect(self, hook: ReconnectHook) -> None:
        """Have `hook` awaited after every reconnect, when the subscriptions are back."""
        self._hooks.append(hook)

    async def mark_up(self) -> None:
        """Note that the connection is up."""
        self._connected_at = asyncio.get_running_loop().time()
        self._up.set()
        try:
            self.rtt_s = await self.nc.rtt(timeout=2)
        except nats.errors.Error:
            _log.debug("no round trip measured")

    def _warn(self, text: str) -> None:
        """Log a failure once, however often reconnecting meets it."""
        if text != self._warned:
            _log.warning("NATS: %s", text)
            self._warned = text

    async def _on_reconnected(self) -> None:
        self._warned = ""
        _log.info("connected to NATS again: %s", redacted(_netloc(self.nc)))
        await self.mark_up()
        for hook in self._hooks:
            await hook()

    async def _on_disconnected(self) -> None:
        self._up.clear()
        if not self.nc.is_closed:
            _log.warning("NATS connection lost")

    async def _on_closed(self) -> None:
        self.closed.set()
        self._up.set()  # whoever waits in established() finds it closed

    async def _on_lame_duck(self) -> None:
        _log.info("the NATS server is shutting down; moving on")
        await self.nc.force_reconnect()


def _netloc(nc: Client) -> str:
    url = nc.connected_url
    return "" if url is None else f"{url.scheme}://{url.hostname}:{url.port}"


@asynccontextmanager
async def connected(
    servers: str | Sequence[str],
    *,
    name: str,
    within_s: float | None = None,
    inbox_prefix: str = "_INBOX",
    ca_file: str | None = None,
    ping_interval_s: float = 3.0,
    reconnect_wait_s: float = 0.25,
) -> AsyncIterator[Connection]:
    """Connect to the first server of the list that answers, and close at the end.

    All processes of one dispatch domain get the same ordered list: one server is used at a time, by all;
    the others stand by. Credentials are part of the URLs (nats://user:password@host, nats://token@host, tls://).

    within_s: bound on the first connect; None waits for the server as long as it takes.

    Raises:
        NotConnected: no server answered within `within_s`, it refused the credentials, or there is none.
    """
    try:
        urls = server_list(servers)
    except ValueError as exc:
        raise NotConnected(f"no connection to NATS: {exc}") from None
    connection = Connection()
    failures: list[Exception] = []

    async def on_error(exc: Exception) -> None:
        if not connection._connected_at:
            failures.append(exc)
            if _is_refusal(exc):
                raise exc
            if len(failures) == 1:
                _log.warning("no NATS server yet at %s", ", ".join(map(redacted, urls)))
        elif not isinstance(exc, (OSError, nats.errors.StaleConnectionError, nats.errors.UnexpectedEOF)):
            connection._warn(f"{type(exc).__name__}: {exc}")

    try:
        async with asyncio.timeout(within_s):
            await connection.nc.connect(
                servers=urls,
                name=name,
                error_cb=on_error,
                disconnected_cb=connection._on_disconnected,
                reconnected_cb=connection._on_reconnected,
                closed_cb=connection._on_closed,
                lame_duck_mode_cb=connection._on_lame_duck,
                reconnect_to_server_handler=_in_order(urls, reconnect_wait_s),
                **_options(ping_interval_s, reconnect_wait_s, inbox_prefix, ca_file),
            )
    except (OSError, nats.errors.Error, TimeoutError) as exc:
        await connection.nc.close()
        cause = failures[-1] if failures else exc
        text = str(cause) or type(cause).__name__
        raise NotConnected(f"no connection to NATS at {', '.join(map(redacted, urls))}: {text}") from None
    await connection.mark_up()
    try:
        yield connection
    finally:
        await _close(connection.nc)


def _options(
    ping_interval_s: float, reconnect_wait_s: float, inbox_prefix: str, ca_file: str | None
) -> dict[str, Any]:
    """What differs from nats-py's defaults, which notice a dead peer after minutes and give up in the end."""
    options: dict[str, Any] = {
        "dont_randomize": True,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": reconnect_wait_s,
        "ping_interval": ping_interval_s,
        "max_outstanding_pings": 2,
        "connect_timeout": 2,
        "inbox_prefix": inbox_prefix,
        "skip_subject_validation": True,  # subjects.py checks every token once, not every message again
    }
    if ca_file is not None:
        options["tls"] = ssl.create_default_context(cafile=ca_file)
    return options


def _is_refusal(exc: Exception) -> bool:
    return isinstance(exc, nats.errors.AuthorizationError) or "authorization" in str(exc).lower()


def _in_order(
    urls: Sequence[str], wait_s: float
) -> Callable[[list[PooledServer], dict[str, Any]], tuple[PooledServer | None, float]]:
    """Return a chooser that prefers the earliest listed server among those that failed least.

    nats-py would begin with the server *after* the lost one. The first few failures of a server do not count:
    its restart is waited for, by all processes alike, before any moves on; else the domain would be split.
    """
    rank = {address(url): i for i, url in reversed(list(enumerate(urls)))}

    def choose(pool: list[PooledServer], _info: dict[str, Any]) -> tuple[PooledServer | None, float]:
        def key(server: PooledServer) -> tuple[int, int]:
            failures = max(0, server.reconnects - _PATIENCE)
            return failures, rank.get(address(server.uri.geturl()), len(urls))

        server = min(pool, key=key)
        return server, wait_s * random.uniform(0.8, 1.6) if server.reconnects else 0.0

    return choose


async def _close(nc: Client) -> None:
    """Flush what is still to be sent, then close; bounded."""
    try:
        if nc.is_connected:
            await nc.flush(timeout=2)
    except (nats.errors.Error, OSError, TimeoutError):
        _log.debug("not flushed before closing")
    with suppress(OSError, RuntimeError):  # the transport may be closed already
        await nc.close()
