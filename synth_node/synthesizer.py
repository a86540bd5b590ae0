"""Everything between a request for one slot and encoded audio: the engine's process and the encoder."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from antiphon.errors import AudioTooLarge, NothingToSpeak, UnsupportedFormat
from antiphon.heartbeat import Voice
from antiphon.request import SpeechRequest
from antiphon.subjects import token_from
from synth_node.audio.pipeline import ENCODED_FORMATS, EncodedAudio, encode_pcm, pass_or_convert
from synth_node.engine_host import EngineHost
from synth_node.engine_process import EngineUnavailable
from synth_node.utterance import NotStarted, Utterance

__all__ = ["EncodedAudio", "EngineInfo", "EngineUnavailable", "Synthesizer", "model_name"]

_USUAL_NAME: Final = "tts_api"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself.

    sample_rate: of its PCM in Hz; None if it makes whole files. start_up_s: measured, the last time.
    aliases: other names of its voices. ssml: it reads SSML. words: it tells when words are heard.
    """

    name: str
    sample_rate: int | None
    voices: tuple[Voice, ...]
    start_up_s: float
    aliases: Mapping[str, str] = field(default_factory=dict)
    ssml: bool = False
    words: bool = False


def model_name(engine: str) -> str:
    """Return the model's name, a legal subject token, for an engine as it is named in the settings.

    A built-in engine has its own name. Of `module:attribute` and `path.py:attribute` it is the attribute; but
    where that is `tts_api`, as everybody calls it, it is the last part of the module's or the file's name:
    "voices.de:Anna" -> Anna, "my_models.fast:tts_api" -> fast, "models/my tts.py:tts_api" -> my-tts.
    """
    module, colon, attribute = engine.rpartition(":")
    if not colon:
        return token_from(engine)
    if attribute != _USUAL_NAME:
        return token_from(attribute)
    return token_from(PurePath(module).stem if module.endswith(".py") else module.rpartition(".")[2])


class Synthesizer:
    """One slot's engine: a process of its own and an encoder. To be entered and left by the same task.

    engine: `espeak`, `tone`, `module:attribute` or `path.py:attribute`. slot: number on this node, for logs.
    python: interpreter that runs the user's engine; None is our own. default_voice: for requests without one.
    idle_s: longest silence of the engine at work, a longer one is a hang. max_audio_s: of one utterance.
    start_timeout_s: bound on the engine's start. bit_rate: of mp3 at 16 to 24 kHz, in bit/s; other rates get
    half of it or one and a half.
    """

    def __init__(
        self,
        engine: str,
        *,
        slot: int = 0,
        python: str | None = None,
        default_voice: str | None = None,
        idle_s: float = 60.0,
        max_audio_s: float = 3 * 3600,
        start_timeout_s: float = 120.0,
        bit_rate: int = 64_000,
    ) -> None:
        self._host = EngineHost(
            engine,
            slot=slot,
            python=python,
            default_voice=default_voice,
            idle_s=idle_s,
            start_timeout_s=start_timeout_s,
        )
        self._max_audio_s = max_audio_s
        self._bit_rate = bit_rate
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"audio-{slot}")

    async def __aenter__(self) -> Synthesizer:
        """Start the engine and wait for it. Raises EngineUnavailable."""
        await self._host.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the engine."""
        try:
            await self._host.__aexit__(*exc_info)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    @property
    def info(self) -> EngineInfo:
        """What the engine said of itself when it started the last time."""
        description = self._host.description
        return EngineInfo(
            name=description["name"],
            sample_rate=description["sample_rate"],
            voices=tuple(Voice(*voice) for voice in description["voices"]),
            start_up_s=self._host.start_up_s,
            aliases=description.get("aliases") or {},
            ssml=bool(description.get("ssml")),
            words=bool(description.get("words")),
        )

    @property
    def is_ready(self) -> bool:
        """Whether `ready` would return at once."""
        return self._host.is_ready

    async def ready(self) -> None:
        """Return when the engine is up and free: it has restarted, and what was cancelled is over."""
        await self._host.ready()

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[EncodedAudio, None]:
        """Yield the audio of one utterance as it comes.

        Closing it early cancels the utterance and returns at once; `ready` waits until the engine is free.

        Raises:
            SpeechError: EngineCrashed, EngineFailed, UnknownVoice, InvalidRequest, UnsupportedFormat,
                BadAudio, NothingToSpeak or AudioTooLarge.
        """
        utterance, first = await self._begin(request)
        total_s = 0.0
        try:
            if first is None:
                raise NothingToSpeak("the engine made no sound of this text", param="text")
            following, rate = utterance.next, utterance.sample_rate
            if rate:
                pieces = encode_pcm(first, following, request, self._thread, rate, self._bit_rate)
            else:
                pieces = await pass_or_convert(first, following, request, self._thread, self._bit_rate)
            async with aclosing(pieces):
                async for piece in pieces:
                    total_s += piece.duration_s
                    if total_s > self._max_audio_s:
                        limit = f"{self._max_audio_s:g} s"
                        raise AudioTooLarge(f"the audio is longer than {limit}", param="text")
                    yield piece
        finally:
            self._host.leave(utterance)

    async def _begin(self, request: SpeechRequest) -> tuple[Utterance, bytes | None]:
        """Return the utterance and its first bytes; it has been left if this raises."""
        fields = {
            "text": request.text,
            "voice": request.voice,
            "speed": request.speed,
            "format": request.format,
            "sample_rate": request.sample_rate,
            "input_type": request.input_type,
            "timestamps": request.timestamps,
        }
        while True:
            await self._host.ready()
            self._check(request)
            utterance = self._host.speak(fields)
            try:
                return utterance, await utterance.next()
            except NotStarted:
                continue
            except BaseException:
                self._host.leave(utterance)
                raise

    def _check(self, request: SpeechRequest) -> None:
        """Refuse what this engine cannot give, before it starts."""
        if self._host.description["sample_rate"] is not None and request.format not in ENCODED_FORMATS:
            raise UnsupportedFormat(
                f"this model gives {', '.join(ENCODED_FORMATS)}, not {request.format}", param="format"
            )
        if request.format == "mp3" and request.sample_rate is not None:
            from synth_node.audio.encode import mp3_sample_rate

            mp3_sample_rate(request.sample_rate, request.sample_rate)
