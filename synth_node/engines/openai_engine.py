"""An engine behind HTTP: any server that speaks OpenAI's speech API."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import structlog
from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)

from antiphon.errors import EngineCrashed, SpeechError
from antiphon.heartbeat import Voice
from antiphon.settings import SettingsError
from synth_node.engine_info import EngineInfo
from synth_node.engine_process import EngineUnavailable
from synth_node.engines.openai_answers import (
    OPENAI_VOICES,
    Busy,
    Failing,
    Forbidden,
    Misconfigured,
    clean,
    failure,
    listed_voices,
)
from synth_node.engines.openai_samples import Samples, check_kind
from synth_node.engines.openai_settings import PREFIX, OpenAISettings
from synth_node.network_engine import EngineRequest, Unreachable
from synth_node.throttle import Throttle

_USUAL_VOICE: Final = "alloy"
FIRST_WAIT_S: Final = 0.25
"""Before the second try; it doubles with each further one."""
MAX_BACKOFF_S: Final = 8.0
MAX_WAIT_S: Final = 60.0
"""Longest wait between two tries; where the server wants a longer one, the engine pauses."""
MAX_PAUSE_S: Final = 3600.0
"""Longest pause, whatever the server wants."""
FIRST_HOLD_S: Final = 10.0
"""Pause after the server has refused key, model or account; it doubles while that goes on."""
MAX_HOLD_S: Final = 300.0
RETURN_S: Final = 1.0
"""Pause before the first probe of a server that could not be reached."""
_NO_CONNECTION: Final = f"no connection to the server of {PREFIX}BASE_URL"
_PROBE: Final = ClientTimeout(total=15.0)
_MAX_ERROR_BYTES: Final = 16 * 1024
_MAX_LIST_BYTES: Final = 1024 * 1024
_log: Final = structlog.get_logger("synth_node")


class _NotConnected(Failing):
    """Not one byte came from the server."""


class OpenAI:
    """Speaks through one server, one request per segment."""

    def __init__(self, settings: OpenAISettings, throttle: Throttle) -> None:
        self._settings = settings
        self._throttle = throttle
        self._key: str | None = None
        self._voices = tuple(Voice(id) for id in settings.voice_ids or OPENAI_VOICES)
        self._session: ClientSession
        self._hold_s = FIRST_HOLD_S

    @property
    def info(self) -> EngineInfo:
        """What the settings say, and the voices that the server listed at the last probe."""
        settings = self._settings
        sample_rate = settings.sample_rate if settings.format == "pcm" else None
        return EngineInfo("openai", sample_rate, self._voices, start_up_s=0.0)

    async def __aenter__(self) -> Self:
        """Open a session; a connection is made with the first request."""
        settings = self._settings
        self._session = ClientSession(
            connector=TCPConnector(limit=self._throttle.most + 1),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(settings.total_s, settings.connect_s, settings.idle_s),
            proxy=_proxy(settings.base_url),
        )
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close all connections."""
        await self._session.close()

    async def probe(self) -> None:
        """Ask for the list of models, which costs nothing, and for that of the voices unless they are set.

        Raises:
            EngineUnavailable: key, address or account are at fault.
            Unreachable: the server cannot be reached, or fails.
        """
        try:
            self._key = self._settings.key()
            if await self._list("models") is None:
                _log.warning(f"the server lists no models; is {PREFIX}BASE_URL right?")
            if not self._settings.voice_ids:
                self._voices = listed_voices(await self._list("audio/voices", model=self._settings.model))
        except SettingsError as exc:
            raise EngineUnavailable(str(exc)) from None
        except Misconfigured as exc:
            raise EngineUnavailable(exc.in_full) from None
        except (Failing, Busy) as exc:
            raise Unreachable(exc.in_full) from None

    async def _list(self, path: str, **query: str) -> Any:
        """Return what the server lists, None if it has no such list or not for us.

        Raises:
            Misconfigured, Failing, Busy.
        """
        try:
            url = f"{self._settings.base_url}/{path}"
            async with self._session.get(
                url, params=query, headers=self._headers(), allow_redirects=False, timeout=_PROBE
            ) as response:
                body = await _start_of(response, _MAX_LIST_BYTES)
        except (ClientError, TimeoutError) as exc:
            raise self._failing(exc) from None
        if response.status == 200:
            if response.content_type == "text/html":
                check_kind(response.content_type, "", 0)
            try:
                return json.loads(body)
            except (ValueError, RecursionError):
                return None
        found = self._failure(response, body)
        if isinstance(found, Failing | Busy):
            raise found
        # Else it lives, but has no such list, or not for us. What speaks for the settings are the models.
        if (
            response.status in (404, 405, 501)
            or path != "models"
            or isinstance(found, SpeechError | Forbidden)
        ):
            return None
        raise found

    async def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        """Yield the audio of one segment as it comes.

        A server that is busy is asked again for as long as the caller wants the audio. One that fails is
        asked a few times, but not once there was audio: others go on at that place.
        """
        n_busy = n_failed = 0
        begun = False
        while True:
            async with self._throttle.turn():
                try:
                    async with aclosing(self._attempt(request)) as pieces:
                        async for piece in pieces:
                            begun = True
                            yield piece
                    self._hold_s = FIRST_HOLD_S
                    return
                except Misconfigured as exc:
                    self._hold(str(exc))
                    raise EngineCrashed(exc.in_full) from None
                except Busy as exc:
                    self._throttle.refused()
                    if exc.after_s is not None and exc.after_s > MAX_WAIT_S:
                        self._throttle.pause(str(exc), for_s=min(exc.after_s, MAX_PAUSE_S))
                        raise EngineCrashed(exc.in_full) from None
                    n_busy += 1
                    reason, wait_s = str(exc), _wait_s(n_busy, exc.after_s)
                except Failing as exc:
                    n_failed += 1
                    if begun or n_failed == self._settings.attempts:
                        if isinstance(exc, _NotConnected):
                            self._throttle.pause(str(exc), for_s=RETURN_S)  # a probe tells when it is back
                        raise EngineCrashed(exc.in_full) from None
                    reason, wait_s = str(exc), _wait_s(n_failed)
            _log.info("the engine's server is asked again", reason=reason, in_s=round(wait_s, 3))
            await asyncio.sleep(wait_s)

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
                check_kind(response.headers.get("Content-Type", ""), settings.format, settings.sample_rate)
                async for data in response.content.iter_any():
                    if piece := data if samples is None else samples.feed(data):
                        found_any = True
                        yield piece
        except (ClientError, TimeoutError) as exc:
            raise self._failing(exc) from None
        if samples is not None and (piece := samples.end()):
            found_any = True
            yield piece
        if not found_any:
            raise Failing("the server answered without audio")

    def _body(self, request: EngineRequest) -> dict[str, Any]:
        settings = self._settings
        known = [voice.id for voice in self._voices]
        usual = known[0] if settings.voice_ids or _USUAL_VOICE not in known else _USUAL_VOICE
        values = {
            "model": settings.model,
            "input": request.text,
            "voice": request.voice or usual,
            "response_format": settings.format,
            "speed": request.speed,
        }
        return values if settings.instructions is None else {**values, "instructions": settings.instructions}

    def _headers(self) -> Mapping[str, str]:
        plain = {"Accept-Encoding": "identity"}  # audio does not shrink, and would come later
        return plain if self._key is None else {**plain, "Authorization": f"Bearer {self._key}"}

    def _failure(self, response: ClientResponse, body: bytes) -> SpeechError | Misconfigured | Failing | Busy:
        now = datetime.now(UTC)
        return failure(response.status, response.headers, body, key=self._key, now=now)

    def _failing(self, exc: Exception) -> Failing:
        """Return what broke, in words without the address, which is not the callers' business."""
        if isinstance(exc, ConnectionTimeoutError):
            return _NotConnected(f"{_NO_CONNECTION} within {self._settings.connect_s:g} s")
        if isinstance(exc, ClientConnectorCertificateError):
            return _NotConnected(f"{_NO_CONNECTION}: its certificate is not trusted")
        if isinstance(exc, ClientConnectorError):
            errno = exc.os_error.errno or 0  # its own words name the address; those of DNS do not
            cause = os.strerror(errno) if errno > 0 else clean(exc.os_error.strerror, self._key)
            return _NotConnected(f"{_NO_CONNECTION}: {cause or 'unknown reason'}")
        if isinstance(exc, TimeoutError):
            return Failing("the server took too long")
        return Failing(f"the connection to the server broke: {type(exc).__name__}")

    def _hold(self, reason: str) -> None:
        """Speak nothing for a while, and then try again: a key can be changed, an account be filled.

        Lists may be open to everyone, so a probe that succeeds says little, and the pause grows.
        """
        if self._throttle.paused_for is None:
            self._throttle.pause(reason, for_s=self._hold_s)
            self._hold_s = min(2 * self._hold_s, MAX_HOLD_S)


def _proxy(base_url: str) -> str | None:
    """Return the proxy of the environment for an address, None if there is none.

    aiohttp can look for it, but then takes a password from ~/.netrc too, and fails with that beside our key.
    """
    url = urlsplit(base_url)
    return None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)


async def _start_of(response: ClientResponse, n_bytes: int) -> bytes:
    """Return the first bytes of a body."""
    data = b""
    while len(data) < n_bytes and (more := await response.content.read(n_bytes - len(data))):
        data += more
    return data


def _wait_s(n_tries: int, after_s: float | None = None) -> float:
    """Return the seconds until the next try, at random within bounds, so that not all come at once.

    after_s: when the server wants to be asked again; None where it has not said.
    """
    backoff_s = min(FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 16), MAX_BACKOFF_S)
    if after_s is None:
        return backoff_s * random.uniform(0.5, 1.0)
    return after_s + backoff_s * random.uniform(0.0, 0.5)
