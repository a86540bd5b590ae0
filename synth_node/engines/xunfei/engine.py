"""An engine behind a WebSocket: the online and the super-human voices of Xunfei (iFlytek)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Self

from websockets.asyncio.client import ClientConnection

from antiphon.errors import EngineFailed, SpeechError, TextTooLong, UnknownVoice
from synth_node.audio.pcm import wav_header
from synth_node.engine_info import EngineInfo
from synth_node.engines.xunfei.faults import Fault, Kind
from synth_node.engines.xunfei.online import Online
from synth_node.engines.xunfei.protocol import Service, Wanted, pitch_level, speed_level, volume_level
from synth_node.engines.xunfei.session import Connector, Session
from synth_node.engines.xunfei.settings import PREFIX, Credentials, XunfeiSettings
from synth_node.engines.xunfei.super_human import SuperHuman
from synth_node.engines.xunfei.texts import pieces
from synth_node.network.attempts import Attempts
from synth_node.network.engine import EngineRequest, probing
from synth_node.network.throttle import Throttle
from synth_node.network.trouble import Busy, Failing, Misconfigured, NoConnection, Trouble


class Xunfei:
    """Speaks through one of the two services, one connection for each text that a request of it can hold."""

    def __init__(self, settings: XunfeiSettings, throttle: Throttle) -> None:
        self._settings = settings
        self._throttle = throttle
        self._attempts = Attempts(throttle, settings.attempts)
        self._voices = settings.voice_list
        self._connector: Connector
        self._credentials: Credentials
        self._service: Service
        self._have_spoken: set[str] = set()
        self._closing: asyncio.TaskGroup

    @property
    def info(self) -> EngineInfo:
        """What the settings say."""
        sample_rate = self._settings.rate if self._settings.aue == "raw" else None
        return EngineInfo("xunfei", sample_rate, self._voices, start_up_s=0.0)

    async def __aenter__(self) -> Self:
        """Read what connections share; each is made for one text."""
        self._connector = Connector(self._settings)
        self._closing = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Wait until the last connections are closed."""
        await self._closing.__aexit__(None, None, None)

    async def probe(self) -> None:
        """Open a connection and close it, without a request, so at no cost: key, secret and clock are right.

        Whether the app may use service and voice is told by the answer to a request only.

        Raises:
            EngineUnavailable: key, secret, address or clock are at fault.
            Unreachable: the service cannot be reached, or fails.
        """
        with probing():
            self._credentials = self._settings.credentials()
            app_id = self._credentials.app_id
            online = self._settings.mode == "online"
            self._service = Online(app_id, self._settings.tte) if online else SuperHuman(app_id)
            try:
                async with self._connector.connected(self._credentials):
                    pass
            except Fault as exc:
                raise self._meant(exc, self._voices[0].id) from None

    async def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        """Yield the audio of one segment as it comes, each text of it in as many attempts as it takes."""
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
                speed=speed_level(request.speed, settings.speed),
                volume=volume_level(settings.volume),
                pitch=pitch_level(settings.pitch),
                sample_rate=settings.rate,
                aue="raw" if is_joined else settings.aue,
            )
            async with aclosing(self._attempts.audio(partial(self._attempt, wanted))) as audio:
                whole = _whole_samples(audio) if wanted.aue == "raw" else audio
                async with aclosing(whole) as made:
                    async for piece in made:
                        yield head + piece
                        head = b""

    async def _attempt(self, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """Speak one text on one connection. Raises SpeechError or Trouble."""
        found_any = False
        try:
            async with self._connected() as connection:
                session = Session(connection, self._service, self._settings, self._credentials.secrets)
                async with aclosing(session.audio(wanted)) as audio:
                    async for piece in audio:
                        found_any = True
                        yield piece
        except Fault as exc:
            raise self._meant(exc, wanted.voice) from None
        if not found_any and any(map(str.isalnum, wanted.text)):  # marks alone may be silence
            raise Failing("the service answered without audio")
        self._have_spoken.add(wanted.voice)

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[ClientConnection, None]:
        """Give a connection for one text; with all of it spoken only the turn waits for its close."""
        connection = await self._connector.open(self._credentials)
        try:
            yield connection
        except BaseException:
            await connection.close()
            raise
        closing = self._closing.create_task(connection.close(), name="close a connection")
        self._throttle.lasts_until(closing)

    def _meant(self, fault: Fault, voice: str) -> Trouble | SpeechError:
        """Return what a fault is to the caller, and to all others."""
        said, in_full = str(fault), fault.in_full
        match fault.kind:
            case Kind.TRANSIENT:
                return Failing(said, fault.words)
            case Kind.UNREACHABLE:
                return NoConnection(said, fault.words)
            case Kind.BUSY:
                return Busy(said, fault.words)
            case Kind.REQUEST:
                return TextTooLong(in_full, param="text")
            case Kind.REFUSED:
                return EngineFailed(in_full)
            case Kind.VOICE if voice == self._voices[0].id or voice in self._have_spoken:
                # The default voice, or all that is left of a quota: it is nothing that a caller could mend.
                self._have_spoken.discard(voice)
                return Misconfigured(f"voice {voice!r} of {PREFIX}VOICES: {said}", pause_s=fault.pause_s)
            case Kind.VOICE:
                return UnknownVoice(f"voice {voice!r}: {in_full}", param="voice")
            case Kind.SETTINGS:
                return Misconfigured(said, pause_s=fault.pause_s)


async def _whole_samples(audio: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield whole samples of two bytes; half a one at the end is none, and would shift what follows."""
    half = b""
    async for piece in audio:
        piece = half + piece
        n_whole = len(piece) & ~1
        half = piece[n_whole:]
        if n_whole:
            yield piece[:n_whole]
