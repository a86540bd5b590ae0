"""One connection to Xunfei: opened with a signature of its own, one text out, its audio in, closed."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from synth_node.engines.xunfei.faults import Fault, Kind, fault_of, handshake_fault
from synth_node.engines.xunfei.ordered import Ordered
from synth_node.engines.xunfei.protocol import Frame, Service, Wanted
from synth_node.engines.xunfei.settings import Credentials, XunfeiSettings
from synth_node.engines.xunfei.signing import signed_url
from synth_node.network.trouble import clean

CLOSE_S: Final = 0.25
"""Time for the server's answer to our close frame."""
_MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""The documents have up to 10 MiB of audio in a message, which is 14 MiB of base64."""
_MAX_FRAMES: Final = 4
_quiet: Final = logging.getLogger("synth_node.websockets")
_quiet.setLevel(logging.WARNING)  # at `debug` the library logs the signed address


class Connector:
    """Opens connections to one service."""

    def __init__(self, settings: XunfeiSettings) -> None:
        self._settings = settings
        # Made once: reading the system's certificates takes longer than a handshake.
        self._tls = ssl.create_default_context() if settings.address.startswith("wss:") else None

    @asynccontextmanager
    async def connected(self, credentials: Credentials) -> AsyncGenerator[ClientConnection, None]:
        """Give a connection that is signed as of now; closed with 1000 at the end. Raises Fault."""
        connection = await self.open(credentials)
        try:
            yield connection
        finally:
            await connection.close()

    async def open(self, credentials: Credentials) -> ClientConnection:
        """Return a connection that is signed as of now. Raises Fault."""
        settings = self._settings
        server = urlsplit(settings.address).netloc + (" through XUNFEI_PROXY" if settings.proxy else "")
        url = signed_url(settings.address, key=credentials.key, secret=credentials.secret, now=time.time())
        # No text of an exception goes into ours: it may hold the signed address, or a proxy's password.
        try:
            return await _Connect(
                url,
                ssl=self._tls,
                proxy=settings.proxy,
                open_timeout=settings.connect_s,
                close_timeout=CLOSE_S,
                ping_interval=None,  # every wait has a bound of its own
                compression=None,
                max_size=_MAX_MESSAGE_BYTES,
                max_queue=_MAX_FRAMES,
                logger=_quiet,
            )
        except InvalidStatus as exc:
            response = exc.response
            date = response.headers.get("Date")
            body = bytes(response.body)
            raise handshake_fault(
                response.status_code, body, *credentials.secrets, server_date=date, now=time.time()
            ) from None
        except TimeoutError:
            reason = f"nothing within {settings.connect_s:g} s"
        except OSError as exc:
            reason = clean(exc.strerror or type(exc).__name__)
        except (WebSocketException, EOFError, ValueError) as exc:
            reason = type(exc).__name__
        raise Fault(Kind.UNREACHABLE, f"no connection to {server}: {reason}")


class _Connect(connect):
    """Does not follow to where an answer sends us: what is signed is meant for one server."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Session:
    """One text on one connection."""

    def __init__(
        self,
        connection: ClientConnection,
        service: Service,
        settings: XunfeiSettings,
        secrets: Sequence[str],
    ) -> None:
        self._connection = connection
        self._service = service
        self._secrets = secrets
        self._idle_s = settings.idle_s
        self._left_s = settings.total_s
        self._sid = ""

    async def audio(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """Yield the audio as it comes, to its very end. Raises Fault."""
        ordered = Ordered()
        await self._send(self._service.request(wanted))
        is_last = False
        while not is_last:
            message = await self._receive()
            if isinstance(message, bytes):
                frame = Frame(code=0, message="", sid="", audio=message, last=False)
            else:
                frame = self._service.frame(message)
            self._sid = self._sid or frame.sid
            if frame.code != 0:
                raise fault_of(frame.code, frame.message, self._sid, *self._secrets)
            is_last = frame.last
            if piece := ordered.add(frame):
                yield piece

    async def _send(self, message: str) -> None:
        try:
            async with asyncio.timeout(self._idle_s):
                await self._connection.send(message)
        except ConnectionClosed as exc:
            raise self._closed(exc) from None
        except TimeoutError:
            raise self._transient(f"the service took nothing for {self._idle_s:g} s") from None

    async def _receive(self) -> str | bytes:
        """Return the next message. The time that the listener takes is not counted."""
        began_at = time.monotonic()
        try:
            async with asyncio.timeout(min(self._idle_s, self._left_s)):
                return await self._connection.recv()
        except ConnectionClosed as exc:
            raise self._closed(exc) from None
        except TimeoutError:
            if self._left_s <= self._idle_s:
                raise self._transient("the service took longer than XUNFEI_TOTAL_S") from None
            raise self._transient(f"the service was silent for {self._idle_s:g} s") from None
        finally:
            self._left_s -= time.monotonic() - began_at

    def _closed(self, exc: ConnectionClosed) -> Fault:
        text = "the connection ended before the audio did"
        if exc.rcvd is None:
            return self._transient(text)
        words = clean(exc.rcvd.reason, *self._secrets)
        return self._transient(f"{text}, with code {exc.rcvd.code}", words=words)

    def _transient(self, text: str, *, words: str = "") -> Fault:
        text = f"{text}, session {clean(self._sid, *self._secrets)}" if self._sid else text
        return Fault(Kind.TRANSIENT, text, words=words)
