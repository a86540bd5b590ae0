"""An engine behind a WebSocket: the online and the super-human voices of Xunfei (iFlytek)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Self

import structlog

from antiphon.errors import EngineCrashed, EngineFailed, SpeechError, TextTooLong, UnknownVoice
from antiphon.settings import SettingsError
from synth_node.audio.pcm import wav_header
from synth_node.engine_info import EngineInfo
from synth_node.engine_process import EngineUnavailable
from synth_node.engines.xunfei.faults import Fault, Kind
from synth_node.engines.xunfei.online import Online
from synth_node.engines.xunfei.protocol import Service, Wanted, pitch_level, speed_level, volume_level
from synth_node.engines.xunfei.session import Connector, Session
from synth_node.engines.xunfei.settings import PREFIX, Credentials, XunfeiSettings
from synth_node.engines.xunfei.super_human import SuperHuman
from synth_node.engines.xunfei.texts import pieces
from synth_node.network.engine import EngineRequest, Unreachable
from synth_node.network.throttle import Throttle

FIRST_WAIT_S: Final = 0.25
"""Before the second try; it doubles with each further one."""
MAX_WAIT_S: Final = 30.0
MAX_HOLD_S: Final = 600.0
"""Longest pause after the service has refused key, app or voice; it doubles while that goes on."""
_UNREACHABLE_S: Final = 1.0
_log: Final = structlog.get_logger("synth_node")


class Xunfei:
    """Speaks through one of the two services, one connection for each text that a request of it can hold."""

    def __init__(self, settings: XunfeiSettings, throttle: Throttle) -> None:
        self._settings = settings
        self._throttle = throttle
        self._voices = settings.voice_list
        self._connector: Connector
        self._credentials: Credentials
        self._service: Service
        self._have_spoken: set[str] = set()
        self._n_pauses = 0

    @property
    def info(self) -> EngineInfo:
        """What the settings say."""
        sample_rate = self._settings.rate if self._settings.aue == "raw" else None
        return EngineInfo("xunfei", sample_rate, self._voices, start_up_s=0.0)

    async def __aenter__(self) -> Self:
        """Read what connections share; each is made for one text."""
        self._connector = Connector(self._settings)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Hold nothing."""

    async def probe(self) -> None:
        """Open a connection and close it, without a request, so at no cost: key, secret and clock are right.

        Whether the app may use service and voice is told by the answer to a request only.

        Raises:
            EngineUnavailable: key, secret, address or clock are at fault.
            Unreachable: the service cannot be reached, or fails.
        """
        try:
            self._credentials = self._settings.credentials()
        except SettingsError as exc:
            raise EngineUnavailable(str(exc)) from None
        app_id = self._credentials.app_id
        online = self._settings.mode == "online"
        self._service = Online(app_id, self._settings.tte) if online else SuperHuman(app_id)
        try:
            async with self._connector.connected(self._credentials):
                pass
        except Fault as exc:
            kind = EngineUnavailable if exc.kind is Kind.SETTINGS else Unreachable
            raise kind(self._said(str(exc))) from None

    async def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        """Yield the audio of one segment as it comes.

        A service that is busy is asked again for as long as the caller wants the audio. One that fails is
        asked a few times, but not once there was audio of the same text: others go on at that place.
        """
        settings, service = self._settings, self._service
        texts = [text for text in pieces(request.text, service.encoding, service.max_text_bytes)
                 if not text.isspace()]  # fmt: skip
        # Files do not become one when their bytes are joined, samples do.
        is_joined = settings.aue == "lame" and len(texts) > 1
        head = wav_header(settings.rate) if is_joined else b""
        for text in texts:
            wanted = Wanted(
                text=text,
                voice=request.voice or self._voices[0].id,
                speed=speed_level(request.speed),
                volume=volume_level(settings.volume),
                pitch=pitch_level(settings.pitch),
                sample_rate=settings.rate,
                aue="raw" if is_joined else settings.aue,
            )
            async with aclosing(self._persistently(wanted)) as audio:
                whole = _whole_samples(audio) if wanted.aue == "raw" else audio
                async with aclosing(whole) as made:
                    async for piece in made:
                        yield head + piece
                        head = b""

    async def _persistently(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """Speak one text in as many attempts as it takes. Raises SpeechError."""
        n_tries = {Kind.BUSY: 0, Kind.TRANSIENT: 0, Kind.UNREACHABLE: 0}
        begun = False
        while True:
            async with self._throttle.turn():
                try:
                    async with aclosing(self._attempt(wanted)) as audio:
                        async for piece in audio:
                            begun = True
                            yield piece
                    self._have_spoken.add(wanted.voice)
                    self._n_pauses = 0
                    return
                except Fault as exc:
                    fault = exc
                    failure = self._judged(fault, wanted.voice)
            if begun:
                raise EngineCrashed(self._said(str(fault)))
            if failure is not None:
                raise failure
            n_tries[fault.kind] += 1
            if n_tries[Kind.TRANSIENT] + n_tries[Kind.UNREACHABLE] == self._settings.attempts:
                raise self._given_up(fault)
            wait_s = _wait_s(n_tries[fault.kind])
            _log.warning("the service is asked again", reason=self._said(str(fault)), in_s=round(wait_s, 3))
            await asyncio.sleep(wait_s)

    async def _attempt(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """Speak one text on one connection. Raises Fault."""
        found_any = False
        async with self._connector.connected(self._credentials) as connection:
            session = Session(connection, self._service, self._settings)
            async with aclosing(session.audio(wanted)) as audio:
                async for piece in audio:
                    found_any = True
                    yield piece
        if not found_any and any(map(str.isalnum, wanted.text)):  # marks alone may be silence
            raise Fault(Kind.TRANSIENT, "the service answered without audio")

    # -- faults

    def _judged(self, fault: Fault, voice: str) -> SpeechError | None:
        """Do what a fault asks for while the turn is held; return what the caller gets, None to try again."""
        said, in_full = self._said(str(fault)), self._said(fault.in_full)
        match fault.kind:
            case Kind.BUSY:
                self._throttle.refused()
            case Kind.REQUEST:
                return TextTooLong(in_full, param="text")
            case Kind.REFUSED:
                return EngineFailed(in_full)
            case Kind.VOICE if voice == self._voices[0].id or voice in self._have_spoken:
                # The default voice, or all that is left of a quota: it is nothing that a caller could mend.
                self._have_spoken.discard(voice)
                return self._paused(f"voice {voice!r} of {PREFIX}VOICES: {said}", fault.pause_s)
            case Kind.VOICE:
                return UnknownVoice(f"voice {voice!r}: {in_full}", param="voice")
            case Kind.SETTINGS:
                return self._paused(said, fault.pause_s)
        return None

    def _given_up(self, fault: Fault) -> EngineCrashed:
        """Return the failure of the last attempt; without a connection a probe, at no cost, tells more."""
        said = self._said(str(fault))
        if fault.kind is Kind.UNREACHABLE:
            self._throttle.pause(said, for_s=_UNREACHABLE_S)
        return EngineCrashed(said)

    def _paused(self, reason: str, for_s: float) -> EngineCrashed:
        """Have nothing spoken for a while, longer each time, until something has been."""
        if self._throttle.paused_for is None:
            self._n_pauses += 1
        for_s = max(for_s, min(for_s * 2.0 ** (self._n_pauses - 1), MAX_HOLD_S))
        self._throttle.pause(reason, for_s=for_s)
        return EngineCrashed(reason)

    def _said(self, text: str) -> str:
        """Return a text that a server may have written a part of, without key and secret."""
        for secret in (self._credentials.key, self._credentials.secret):
            text = text.replace(secret, "***")
        return text


async def _whole_samples(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield whole samples of two bytes; half a one at the end is none, and would shift what follows."""
    half = b""
    async for piece in audio:
        piece = half + piece
        n_whole = len(piece) & ~1
        half = piece[n_whole:]
        if n_whole:
            yield piece[:n_whole]


def _wait_s(n_tries: int) -> float:
    """Return the seconds until the next try, at random within bounds, so that not all come at once."""
    return min(FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 16), MAX_WAIT_S) * random.uniform(0.5, 1.0)
