"""An engine behind HTTP: any server that speaks OpenAI's speech API."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import structlog
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)

from antiphon.errors import EngineFailed, SpeechError
from antiphon.heartbeat import Voice
from antiphon.openai_voices import OPENAI_VOICES
from synth_node.engine_info import EngineInfo
from synth_node.engines.openai.answers import failure, listed_voices, no_audio
from synth_node.engines.openai.samples import TEXT_INSTEAD, Samples, check_kind
from synth_node.engines.openai.settings import PREFIX, OpenAISettings
from synth_node.network.attempts import Attempts
from synth_node.network.engine import EngineRequest, probing
from synth_node.network.throttle import Throttle
from synth_node.network.trouble import Busy, Doubtful, Failing, Misconfigured, NoConnection, clean

_USUAL_VOICE: Final = "alloy"
_NO_CONNECTION: Final = f"no connection to the server of {PREFIX}BASE_URL"
_PROBE: Final = ClientTimeout(total=15.0)
_MAX_ERROR_BYTES: Final = 16 * 1024
_MAX_LIST_BYTES: Final = 1024 * 1024
_log: Final = structlog.get_logger("synth_node")


class OpenAI:
    """Speaks through one server, one request per segment."""

    def __init__(self, settings: OpenAISettings, throttle: Throttle) -> None:
        self._settings = settings
        self._n_slots = throttle.most
        self._attempts = Attempts(throttle, settings.attempts)
        self._key: str | None = None
        self._has_spoken = False
        """Since the last probe: key, address, model and format are right."""
        self._voices = tuple(Voice(id) for id in settings.voice_ids or OPENAI_VOICES)
        self._session: ClientSession

    @property
    def info(self) -> EngineInfo:
        """What the settings say, and the voices that the server listed at the last probe."""
        settings = self._settings
        sample_rate = settings.sample_rate if settings.format == "pcm" else None
        return EngineInfo("openai", sample_rate, self._voices, start_up_s=0.0)

    async def __aenter__(self) -> Self:
        """Open a session; each request gets a connection of its own.

        What a server sends beside an answer, such as the same one again, would be taken for that of the next
        request on a connection that is kept. It costs 0.3 ms on loopback, 6 ms with TLS at both ends.
        """
        settings = self._settings
        self._session = ClientSession(
            connector=TCPConnector(limit=self._n_slots + 1, force_close=True),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(settings.total_s, settings.connect_s, settings.idle_s),
            proxy=_proxy(settings.base_url),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close all connections."""
        await self._session.close()

    async def probe(self) -> None:
        """Ask for the sound of no text, which costs nothing, and for the voices unless they are set.

        Raises:
            EngineUnavailable: key, address, model or account are at fault.
            Unreachable: the server cannot be reached, or fails.
        """
        with probing():
            self._key = self._settings.key()
            self._has_spoken = False
            await self._check()
            if not self._settings.voice_ids:
                self._voices = listed_voices(await self._listed())

    async def _check(self) -> None:
        """Find what would fail every request. Raises Misconfigured, Failing or Busy."""
        settings = self._settings
        nothing = {**settings.fields, "input": ""}
        response, body = await self._answer("POST", "audio/speech", json=nothing)
        if response.status == 200:
            with suppress(EngineFailed):  # some text, instead of an error
                check_kind(response.content_type, settings.format, settings.sample_rate)
            return
        found = self._failure(response, body)
        if isinstance(found, Misconfigured) or _is_away(found, response.status):
            raise found

    async def _listed(self) -> Any:
        """Return what the server lists as voices, None if it has no such list or not for us.

        Raises:
            Failing, Busy.
        """
        query = {"model": self._settings.model}
        response, body = await self._answer("GET", "audio/voices", params=query)
        if response.status != 200:
            if _is_away(found := self._failure(response, body), response.status):
                raise found
            return None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None

    async def _answer(self, method: str, path: str, **values: Any) -> tuple[ClientResponse, bytes]:
        """Return an answer and the beginning of its body. Raises Failing."""
        url, headers = f"{self._settings.base_url}/{path}", self._headers()
        try:
            async with self._session.request(
                method, url, headers=headers, allow_redirects=False, timeout=_PROBE, **values
            ) as response:
                return response, await _start_of(response, _MAX_LIST_BYTES)
        except (ClientError, TimeoutError) as exc:
            raise self._failing(exc) from None

    def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        """Yield the audio of one segment as it comes, in as many attempts as it takes."""
        return self._attempts.audio(partial(self._attempt, request), under_way=request.under_way)

    async def _attempt(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        """Ask once. Raises SpeechError, Misconfigured, Failing or Busy."""
        settings = self._settings
        samples = Samples(settings.sample_rate) if settings.format == "pcm" else None
        found_any = False
        try:
            async with self._session.post(
                f"{settings.base_url}/audio/speech",
                json=self._body(request),
                headers=self._headers(),
                allow_redirects=False,
            ) as response:
                if response.status != 200:
                    raise self._failure(response, await _start_of(response, _MAX_ERROR_BYTES))
                await self._check_kind(response)
                async for data in response.content.iter_any():
                    if piece := data if samples is None else samples.feed(data):
                        found_any = True
                        yield piece
        except (ClientError, TimeoutError) as exc:
            raise self._failing(exc) from None
        except Doubtful as exc:
            raise await self._cleared(exc) from None
        if samples is not None and samples.text:
            raise no_audio(TEXT_INSTEAD, samples.text, "", self._key)
        if samples is not None and (piece := samples.end()):
            found_any = True
            yield piece
        if not found_any:
            raise Failing("the server answered without audio")
        self._has_spoken = True

    async def _check_kind(self, response: ClientResponse) -> None:
        """Look at the type of an answer with status 200. Raises Doubtful or EngineFailed."""
        kind, settings = response.headers.get("Content-Type", ""), self._settings
        try:
            check_kind(kind, settings.format, settings.sample_rate)
        except EngineFailed as exc:
            raise no_audio(str(exc), await _start_of(response, _MAX_ERROR_BYTES), kind, self._key) from None

    async def _cleared(self, trouble: Doubtful) -> Doubtful | EngineFailed:
        """Return what an odd answer is: the fault of its text where others have been spoken.

        The server is asked once more to say nothing, for the settings may have gone wrong since.

        Raises:
            Misconfigured, Failing, Busy: it does not take that either.
        """
        if not self._has_spoken:
            return trouble
        await self._check()
        _log.warning("the engine's server refuses one text", reason=str(trouble))
        return EngineFailed(f"other texts are spoken, but to this one: {trouble.in_full}")

    def _body(self, request: EngineRequest) -> dict[str, Any]:
        settings = self._settings
        known = [voice.id for voice in self._voices]
        usual = known[0] if settings.voice_ids or _USUAL_VOICE not in known else _USUAL_VOICE
        return {
            **settings.fields,
            "input": request.text,
            "voice": request.voice or usual,
            "speed": request.speed,
        }

    def _headers(self) -> Mapping[str, str]:
        plain = {"Accept-Encoding": "identity"}  # audio does not shrink, and would come later
        return plain if self._key is None else {**plain, "Authorization": f"Bearer {self._key}"}

    def _failure(self, response: ClientResponse, body: bytes) -> SpeechError | Misconfigured | Failing | Busy:
        now = datetime.now(UTC)
        return failure(response.status, response.headers, body, key=self._key, now=now)

    def _failing(self, exc: Exception) -> Failing:
        """Return what broke, in words without the address, which is not the callers' business."""
        if isinstance(exc, ConnectionTimeoutError):
            return NoConnection(f"{_NO_CONNECTION} within {self._settings.connect_s:g} s")
        if isinstance(exc, ClientConnectorCertificateError):
            return NoConnection(f"{_NO_CONNECTION}: its certificate is not trusted")
        if isinstance(exc, ClientConnectorSSLError):
            return NoConnection(f"{_NO_CONNECTION}: it speaks no TLS there, or none that we know")
        if isinstance(exc, ClientConnectorError):
            errno = exc.os_error.errno or 0  # its own words name the address; those of DNS do not
            cause = os.strerror(errno) if errno > 0 else clean(exc.os_error.strerror, self._key)
            return NoConnection(f"{_NO_CONNECTION}: {cause or 'unknown reason'}")
        if isinstance(exc, TimeoutError):
            return Failing("the server took too long")
        return Failing(f"the connection to the server broke: {type(exc).__name__}")


def _proxy(base_url: str) -> str | None:
    """Return the proxy of the environment for an address, None if there is none.

    aiohttp can look for it, but then takes a password from ~/.netrc too, and fails with that beside our key.
    """
    url = urlsplit(base_url)
    proxy = None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"  # as other programs read it


def _is_away(found: Exception, status: int) -> bool:
    """Tell whether a server cannot speak now; with 500 some refuse to say nothing."""
    return isinstance(found, Busy) or (isinstance(found, Failing) and status > 500)


async def _start_of(response: ClientResponse, n_bytes: int) -> bytes:
    """Return the first bytes of a body."""
    data = b""
    while len(data) < n_bytes and (more := await response.content.read(n_bytes - len(data))):
        data += more
    return data
