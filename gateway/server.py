"""The HTTP server: its bounds, its replies to what is no HTTP, and its orderly end."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import structlog
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http_exceptions import LineTooLong

from gateway.config import GatewaySettings
from gateway.http_errors import (
    HTTP_CODES,
    REQUEST_ID_HEADER,
    SERVER,
    error_body,
    has_begun,
    http_error_response,
    new_request_id,
    retry_headers,
)

BACKLOG: Final = 1024
MAX_REFUSALS: Final = 256
"""Refused connections that may linger at the same time; further ones are cut without a word."""
REFUSAL_LINGER_S: Final = 2.0
ABORT_AFTER_S: Final = 1.0
"""Time that cancelled requests get to unwind once the grace is over."""
_log: Final = structlog.get_logger(__name__)


class CannotListen(Exception):
    """The address cannot be had; the text is one sentence."""


class HttpServer:
    """A listening server. url: where."""

    def __init__(
        self, listener: asyncio.Server, runner: web.AppRunner, connections: Connections, grace_s: float
    ) -> None:
        assert runner.server is not None
        self.url = _url(listener)
        self._listener = listener
        self._runner = runner
        self._server = runner.server
        self._connections = connections
        self._grace_s = grace_s

    async def drain(self) -> None:
        """Take nothing new; close idle connections now, busy ones after their reply or the grace."""
        self._listener.close()
        try:
            async with asyncio.timeout(self._grace_s):
                await asyncio.sleep(0)  # what was accepted just now begins
                await self._runner.shutdown()  # long conversations hear of it
                self._server.pre_shutdown()
                await self._server.shutdown(None)
                await self._connections.closed()
        except TimeoutError:
            _log.warning("the grace is over: requests are cut off", connections=self._connections.n)


@asynccontextmanager
async def listening(app: web.Application, settings: GatewaySettings) -> AsyncIterator[HttpServer]:
    """Serve `app`; what still runs at the end is cut off, so `drain` first.

    Raises:
        CannotListen: the address is in use or not of this machine.
    """
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    server = runner.server
    assert server is not None
    connections = Connections(settings.max_connections, settings.send_timeout_s)
    options = {
        "keepalive_timeout": settings.keepalive_s,
        "auto_decompress": False,  # read_body refuses what is compressed: no small body can grow large here
        "lingering_time": min(2.0, settings.body_timeout_s),
        "access_log": logging.getLogger("gateway.access") if settings.access_log else None,
        "access_log_class": AccessLog,
    }
    try:
        listener = await _listen(lambda: Protocol(connections, server, **options), settings)
        try:
            yield HttpServer(listener, runner, connections, settings.grace_s)
        finally:
            listener.close()
    finally:
        await runner.cleanup()
        await connections.closed(within_s=ABORT_AFTER_S)


async def _listen(factory: Any, settings: GatewaySettings) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(factory, settings.host, settings.port, backlog=BACKLOG)
    except OSError as exc:
        address = f"{settings.host}:{settings.port}"
        if exc.errno == errno.EADDRINUSE:
            raise CannotListen(f"{address} is in use: set GATEWAY_PORT to another port") from None
        raise CannotListen(f"cannot listen on {address}: {exc.strerror or exc}") from None


def _url(listener: asyncio.Server) -> str:
    host, port = listener.sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Connections:
    """Counts and bounds the open HTTP connections."""

    def __init__(self, limit: int, send_timeout_s: float) -> None:
        self.n = 0
        self._limit = limit
        self._refusals = 0
        self._send_timeout_ms = round(send_timeout_s * 1000)
        self._none = asyncio.Event()
        self._none.set()

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count the connection in and return True; or hand it to a refusal and return False."""
        if self.n >= self._limit:
            self._refuse(transport)
            return False
        self.n += 1
        self._none.clear()
        # A client that never reads would hold its answer in memory for ever: no timer of aiohttp sees it.
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._send_timeout_ms)
        return True

    def leave(self) -> None:
        """Count an admitted connection out."""
        self.n -= 1
        if self.n == 0:
            self._none.set()

    async def closed(self, within_s: float | None = None) -> None:
        """Wait until no connection is open, at most `within_s`."""
        try:
            async with asyncio.timeout(within_s):
                await self._none.wait()
        except TimeoutError:
            _log.warning("connections are left open", connections=self.n)

    def _refuse(self, transport: asyncio.Transport) -> None:
        if self._refusals >= MAX_REFUSALS:
            transport.set_protocol(asyncio.Protocol())
            transport.abort()
            return
        self._refusals += 1
        transport.set_protocol(Refusal(self, transport))

    def refused(self) -> None:
        """Note that a refused connection is closed."""
        self._refusals -= 1


class Protocol(web.RequestHandler):
    """One HTTP connection; what aiohttp would answer in plain text, it answers in our shape."""

    __slots__ = ("_admitted", "_connections")

    def __init__(self, connections: Connections, server: web.Server, **options: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._connections = connections
        self._admitted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve, unless too many connections are open."""
        self._admitted = self._connections.admit(cast(asyncio.Transport, transport))
        if self._admitted:
            super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what runs for this connection."""
        super().connection_lost(exc)
        if self._admitted:
            self._admitted = False
            self._connections.leave()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what never reaches a route, above all bytes that are no HTTP."""
        if has_begun(request):
            raise ConnectionResetError("the reply was broken off")
        if isinstance(exc, LineTooLong):
            response = http_error_response(431, "the request line or a header is too long")
        elif status == 400:
            response = http_error_response(400, "this is no valid HTTP request")
        else:
            _log.error("unexpected error outside of the routes", exc_info=exc)
            response = http_error_response(500, "unexpected error; the log of the gateway has it")
        response.headers.update({REQUEST_ID_HEADER: new_request_id(), "Server": SERVER})
        response.force_close()
        return response


class Refusal(asyncio.Protocol):
    """Says 503, then closes when the client has read it: to close at once could reset the answer away."""

    def __init__(self, connections: Connections, transport: asyncio.Transport) -> None:
        self._connections = connections
        transport.write(_refusal())
        transport.write_eof()
        self._cut = asyncio.get_running_loop().call_later(REFUSAL_LINGER_S, transport.abort)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Make room for the next refusal."""
        self._cut.cancel()
        self._connections.refused()


def _refusal() -> bytes:
    body = error_body(503, HTTP_CODES[503], "too many connections are open")
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        REQUEST_ID_HEADER: new_request_id(),
        **retry_headers(503, retryable=True),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return b"HTTP/1.1 503 Service Unavailable\r\n" + head.encode() + b"\r\n" + body


class AccessLog(AbstractAccessLogger):
    """One line per request, without its query and its text."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one answered request; time: in seconds."""
        _log.info(
            "answered",
            method=request.method,
            path=request.path,
            status=response.status,
            bytes=response.body_length,
            seconds=round(time, 4),
            request_id=response.headers.get(REQUEST_ID_HEADER),
        )
