"""An engine behind HTTP: any server that speaks OpenAI's speech API."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final, Self

import structlog
from aiohttp import (
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
    Busy,
    Failing,
    Misconfigured,
    Samples,
    check_kind,
    clean,
    failure,
)
from synth_node.engines.openai_settings import OpenAISettings
from synth_node.network_engine import EngineRequest, Unreachable
from synth_node.throttle import Throttle

OPENAI_VOICES: Final = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage"),
    *("shimmer", "verse"),
)
_USUAL_VOICE: Final = "alloy"
FIRST_WAIT_S: Final = 0.25
"""Before the second try; it doubles with each further one."""
MAX_WAIT_S: Final = 60.0
"""Longest wait between two tries, whatever the server says."""
FIRST_HOLD_S: Final = 10.0
"""Pause after the server has refused key, model or account; it doubles while that goes on."""
MAX_HOLD_S: Final = 300.0
_PROBE: Final = ClientTimeout(total=15.0)
_MAX_ERROR_BYTES: Final = 16 * 1024
_MAX_LIST_BYTES: Final = 1024 * 1024
_MAX_VOICES: Final = 2000
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
        self._refused_for = ""
        self._refused_until = 0.0
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
            trust_env=True,
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
        if (left_s := self._refused_until - monotonic()) > 0:
            # Lists may be open to everyone: only speaking would tell, and it has just told.
            raise EngineUnavailable(f"{self._refused_for} (asked again in {left_s:.0f} s)")
        try:
            self._key = self._settings.key()
            await self._list("models")
            if not self._settings.voice_ids:
                self._voices = _voices(await self._list("audio/voices", model=self._settings.model))
        except SettingsError as exc:
            raise EngineUnavailable(str(exc)) from None
        except Misconfigured as exc:
            raise EngineUnavailable(str(exc)) from None
        except (Failing, Busy) as exc:
            raise Unreachable(str(exc)) from None

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
        if response.status in (404, 405, 501) or (response.status < 500 and path != "models"):
            return None
        found = self._failure(response, body)
        if isinstance(found, SpeechError):  # it lives, but makes nothing of this request
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
                    self._pause(str(exc))
                    raise EngineCrashed(str(exc)) from None
                except Busy as exc:
                    self._throttle.refused()
                    n_busy += 1
                    reason, wait_s = str(exc), _wait_s(n_busy, exc.after_s)
                except Failing as exc:
                    n_failed += 1
                    if begun or n_failed == self._settings.attempts:
                        if isinstance(exc, _NotConnected):
                            self._throttle.pause(str(exc))  # the next probe tells when it is back
                        raise EngineCrashed(str(exc)) from None
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
        """Return what broke, in words that hold no address of a proxy with its password."""
        server = self._settings.base_url
        if isinstance(exc, ConnectionTimeoutError):
            return _NotConnected(f"no connection to {server} within {self._settings.connect_s:g} s")
        if isinstance(exc, ClientConnectorError):
            cause = exc.os_error.strerror or str(exc.os_error)
            return _NotConnected(f"no connection to {server}: {clean(cause, self._key)}")
        if isinstance(exc, TimeoutError):
            return Failing(f"{server} took too long")
        return Failing(f"the connection to {server} broke: {type(exc).__name__}")

    def _pause(self, reason: str) -> None:
        """Speak nothing for a while, and then try again: a key can be changed, an account be filled."""
        if self._throttle.paused_for is None:
            self._refused_for, self._refused_until = reason, monotonic() + self._hold_s
            self._hold_s = min(2 * self._hold_s, MAX_HOLD_S)
        self._throttle.pause(reason)


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
    backoff_s = min(FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 16), MAX_WAIT_S)
    if after_s is None:
        return backoff_s * random.uniform(0.5, 1.0)
    return min(after_s, MAX_WAIT_S) + backoff_s * random.uniform(0.0, 0.5)


def _voices(listed: Any) -> tuple[Voice, ...]:
    """Return the voices of a list in any known shape; OpenAI's where there is none."""
    values = listed.get("voices", listed.get("data")) if isinstance(listed, dict) else listed
    found: dict[str, Voice] = {}
    for value in values[:_MAX_VOICES] if isinstance(values, list) else ():
        each = value if isinstance(value, dict) else {"id": value}
        id, name, language = (
            next((each[key] for key in keys if isinstance(each.get(key), str)), "")
            for keys in (("id", "voice_id", "name"), ("name",), ("language", "lang", "locale"))
        )
        if 0 < len(id) <= 200:
            found.setdefault(id, Voice(id, name[:200], language[:40]))
    return tuple(found.values()) or tuple(Voice(id) for id in OPENAI_VOICES)
