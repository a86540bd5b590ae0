"""GET /v1/audio/stream: a WebSocket for text that is spoken while it is being written."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Final
from urllib.parse import urlsplit

import structlog
from aiohttp import hdrs, web

from antiphon.errors import Draining, InvalidRequest, SpeechError
from gateway.config import GatewaySettings
from gateway.cors import Cors, parse_origins
from gateway.http_errors import http_error_response, request_id
from gateway.keys import subprotocols
from gateway.link import Link
from gateway.streaming import traceparent_of
from gateway.voice_messages import Close, failed, options_of_query
from gateway.voice_session import Session
from gateway.voice_utterances import Utterances

MAX_BYTES_PER_CHARACTER: Final = 12
"""A character outside of the basic plane, written as two escapes in JSON."""
_ROOM: Final = 4096
UNSENT_BYTES: Final = 16 * 1024
"""Audio that may wait in each buffer on its way out: what is cancelled should not be there already."""
_log: Final = structlog.get_logger(__name__)


class VoiceStream:
    """Turns WebSocket connections into sessions; knows when to end them."""

    def __init__(self, link: Link, settings: GatewaySettings) -> None:
        self._utterances = Utterances(link, settings)
        self._settings = settings
        self._cors = Cors(parse_origins(settings.cors_origins))
        self._draining = asyncio.Event()

    async def drain(self, _app: web.Application) -> None:
        """Have every session speak what has come, then close; for the application's on_shutdown."""
        self._draining.set()

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Serve one client until either side ends it. What is wrong with the request is a status."""
        settings = self._settings
        if not self._may_come_from(request.headers.get(hdrs.ORIGIN), request.host):
            return http_error_response(403, "pages of this origin may not use this gateway")
        protocols = subprotocols(request)
        if hdrs.SEC_WEBSOCKET_PROTOCOL in request.headers and not protocols:
            # No browser goes on without one in return, and aiohttp would log the key.
            raise InvalidRequest("offer a subprotocol of any name beside that of the key")
        ws = web.WebSocketResponse(
            protocols=protocols,
            timeout=settings.send_timeout_s,
            max_msg_size=settings.stream_buffer_characters * MAX_BYTES_PER_CHARACTER + _ROOM,
            writer_limit=UNSENT_BYTES,
            compress=False,  # audio does not shrink
        )
        if not ws.can_prepare(request):
            headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
            return http_error_response(426, "open a WebSocket here (RFC 6455)", headers)
        options = options_of_query(request.query)
        if self._draining.is_set():
            raise Draining("this gateway is leaving: connect again")
        _ = self._utterances.link.client  # without NATS the answer is 503
        await ws.prepare(request)
        _keep_little_unsent(request)
        session = Session(
            ws,
            self._utterances,
            settings,
            options,
            draining=self._draining,
            traceparent=traceparent_of(request),
        )
        close = await _run(session, request_id(request))
        if close is not None:
            await _end(ws, close)
        return ws

    def _may_come_from(self, origin: str | None, host: str) -> bool:
        """Tell whether a page of `origin` may connect: browsers ask nobody before they open a WebSocket."""
        return origin is None or self._cors.allows(origin) or urlsplit(origin).netloc == host


def _keep_little_unsent(request: web.Request) -> None:
    """Have the kernel and the transport ask for more only when little is left."""
    transport = request.transport
    if transport is not None:
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


async def _run(session: Session, id: str) -> Close | None:
    try:
        return await session.run()
    except Exception:
        _log.exception("unexpected error in a voice stream", request_id=id)
        return failed(SpeechError("unexpected error; the log of the gateway has it"))


async def _end(ws: web.WebSocketResponse, close: Close) -> None:
    """Say what is wrong, if anything is, and close; the client has the time to read what is before it."""
    with suppress(ConnectionError):
        if close.error is not None:
            await ws.send_json({"type": "error", "error": close.error})
        await ws.close(code=close.code, message=close.reason_bytes)
