"""Everything between a request for one slot and encoded audio: the engine's process and the encoder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final

from antiphon.errors import AudioTooLarge, InvalidRequest, NothingToSpeak
from antiphon.events import Segment, Word, Words
from antiphon.request import Resume, SpeechRequest, is_speakable
from synth_node.audio.encode import Encoder, check_format, make_encoder
from synth_node.audio.joined import Joined
from synth_node.audio.pipeline import EncodedAudio, decoded_as_it_comes, file_head, passed_on, passes
from synth_node.engine_info import EngineInfo
from synth_node.help import Help
from synth_node.host import Host
from synth_node.narration import narration
from synth_node.segment_audio import Samples, SpokenWord
from synth_node.source import Source
from synth_node.text.segments import Part, Pause, Spoken, each_part

__all__ = ["EncodedAudio", "Spoke", "Synthesizer"]

Spoke = EncodedAudio | Segment | Words
_FIRST_S: Final = 0.05
"""So little is encoded at a time until there is audio: a fast engine has made all of a segment by then."""


class Synthesizer:
    """One slot's engine and an encoder. To be entered and left by the same task.

    host: speaks for the slot. slot: number on this node, for logs. max_audio_s: of one utterance.
    bit_rate: of mp3 at 16 to 24 kHz, in bit/s; the others follow it. segment_characters: longest part of a
    text that is spoken in one go; 0 never splits.
    """

    def __init__(
        self,
        host: Host,
        *,
        slot: int = 0,
        max_audio_s: float = 3 * 3600,
        bit_rate: int = 64_000,
        segment_characters: int = 300,
    ) -> None:
        self._host = host
        self._max_audio_s = max_audio_s
        self._bit_rate = bit_rate
        self._segment_characters = segment_characters
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix=f"encode-{slot}")
        # A decoder waits on its thread for what the engine makes.
        self._decoding = ThreadPoolExecutor(1, thread_name_prefix=f"decode-{slot}")
        self._source = Source(self._host, self._decoding)

    async def __aenter__(self) -> Synthesizer:
        """Start the engine and wait for it. Raises EngineUnavailable."""
        await self._host.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End the engine."""
        try:
            await self._host.__aexit__(*exc_info)
        finally:
            for thread in (self._encoding, self._decoding):
                thread.shutdown(wait=False, cancel_futures=True)

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""
        return self._host.info

    @property
    def is_ready(self) -> bool:
        """Whether `ready` would return at once."""
        return self._host.is_ready

    async def ready(self) -> None:
        """Return when the engine is up and free: it has restarted, and what was cancelled is over.

        A worn one is replaced first.
        """
        await self._host.ready()

    def unready(self) -> asyncio.Future[None]:
        """Return what is done as soon as an idle slot had better leave the group."""
        return self._host.unready()

    @property
    def seconds_per_character(self) -> float:
        """The engine's own time, a moving mean; 0.0 until measured."""
        return self._host.seconds_per_character

    async def speak(
        self, request: SpeechRequest, help: Help | None = None, *, alone: bool = False
    ) -> AsyncGenerator[Spoke, None]:
        """Yield the audio of one utterance as it comes, which segment begins, and when words are heard.

        help: what other slots may do of a long text. alone: see EngineRequest.
        Closing it early cancels the utterance and returns at once; `ready` waits until the engine is free.

        Raises:
            SpeechError: EngineCrashed, EngineFailed, UnknownVoice, InvalidRequest, UnsupportedFormat,
                BadAudio, NothingToSpeak or AudioTooLarge.
        """
        await self._host.free()
        self._check(request)
        total_s = 0.0
        async with (
            self._source.cut(request, self._parts(request), alone=alone) as text,
            aclosing(self._pieces(request, text, help)) as pieces,
        ):
            async for piece in pieces:
                if isinstance(piece, EncodedAudio):
                    total_s += piece.duration_s
                    if total_s > self._max_audio_s:
                        limit = f"{self._max_audio_s:g} s"
                        raise AudioTooLarge(f"the audio is longer than {limit}", param="text")
                yield piece

    def _check(self, request: SpeechRequest) -> None:
        """Refuse what this engine cannot give, before it starts."""
        info = self.info
        check_format(request.format, request.sample_rate)
        if request.input_type == "ssml" and not info.ssml:
            raise InvalidRequest("this model reads plain text only, no SSML", param="input_type")
        if request.timestamps and not info.words:
            raise InvalidRequest("this model does not tell when words are heard", param="timestamps")

    def _parts(self, request: SpeechRequest) -> Iterator[Part]:
        if request.input_type == "ssml" or not request.split:
            return iter([Spoken(0, request.text)])
        return each_part(request.text, most=self._segment_characters or None)

    async def _pieces(
        self, request: SpeechRequest, text: list[Part], help: Help | None
    ) -> AsyncGenerator[Spoke, None]:
        spoken = [part for part in text if isinstance(part, Spoken)]
        if self.info.sample_rate is None and len(text) == 1 and len(spoken) == 1 and request.resume is None:
            works = self._whole_file(request, spoken[0])
        else:
            works = self._joined(request, text, help)
        async with aclosing(works) as pieces:
            async for piece in pieces:
                yield piece

    async def _whole_file(self, request: SpeechRequest, spoken: Spoken) -> AsyncGenerator[Spoke, None]:
        """Pass the engine's one file on if it is what was asked for, else convert it."""
        utterance, first = await self._source.begin(request, spoken.text)
        try:
            if first is None:
                raise NothingToSpeak("the engine made no sound of this text", param="text")
            yield Segment(0, 1, spoken.offset, len(spoken.text))
            head, found = await file_head(first, utterance.next)
            head, passes_on = await passes(head, found, utterance.next, request)
            if passes_on:
                pieces = passed_on(head, utterance.next, found, self._decoding)
            else:
                samples = decoded_as_it_comes(head, utterance.next, self._decoding, None)
                pieces = self._encoded(request, samples)
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        finally:
            self._source.leave(utterance)

    async def _encoded(
        self, request: SpeechRequest, samples: AsyncGenerator[tuple[int, bytes], None]
    ) -> AsyncGenerator[EncodedAudio, None]:
        with self._encoder(request) as joined:
            async with aclosing(samples):
                async for rate, pcm in samples:
                    for piece in await self._encode(joined.encode, rate, pcm):
                        yield piece
            for piece in await self._end(joined, request):
                yield piece

    async def _joined(
        self, request: SpeechRequest, text: list[Part], help: Help | None
    ) -> AsyncGenerator[Spoke, None]:
        """Speak all segments, and the pauses between them, through one encoder."""
        n_before = 0
        if request.resume is not None:
            n_before, text = self._rest(request, request.resume, text)
        spoken = [part for part in text if isinstance(part, Spoken)]
        segments = [
            Segment(index, n_before + len(spoken), part.offset, len(part.text))
            for index, part in enumerate(spoken, n_before)
        ]
        engine, sample_rate = partial(self._source.samples, request), self.info.sample_rate
        n_begun = 0
        with self._encoder(request) as joined:
            joined.begin(n_before)
            async with narration(spoken, engine, help, sample_rate) as narrated:
                told = bool(segments) and isinstance(text[0], Pause)
                if told:
                    yield segments[0]  # silence before all belongs to it
                for part in text:
                    if isinstance(part, Pause):
                        for piece in await self._encode(joined.silence, sample_rate, part.ms):
                            yield piece
                        continue
                    samples = narrated.segment(n_begun)
                    sound = self._segment(joined, segments[n_begun], samples, told=told)
                    async with aclosing(sound) as pieces:
                        async for spoke in pieces:
                            yield spoke
                    n_begun, told = n_begun + 1, False
            for piece in await self._end(joined, request):
                yield piece

    def _rest(self, request: SpeechRequest, resume: Resume, text: list[Part]) -> tuple[int, list[Part]]:
        """Return how many segments were heard of a lost run, and the parts that are left.

        A node that cuts texts in another way begins a segment of its own there.

        Raises:
            InvalidRequest: the text ends before.
        """
        spoken = [i for i, part in enumerate(text) if isinstance(part, Spoken)]
        n_before = sum(text[i].offset < resume.offset for i in spoken)
        if n_before < len(spoken) and text[spoken[n_before]].offset == resume.offset:
            return n_before, text[spoken[n_before] if n_before else 0 :]
        rest = request.text[resume.offset :]
        if not rest.strip():
            raise InvalidRequest(f"the text has no character {resume.offset}", param="resume")
        parts = self._parts(replace(request, text=rest)) if is_speakable(rest) else ()
        return n_before, [replace(part, offset=part.offset + resume.offset) for part in parts]

    async def _segment(
        self, joined: Joined, segment: Segment, samples: AsyncGenerator[Samples, None], *, told: bool
    ) -> AsyncGenerator[Spoke, None]:
        """Encode the sound of one segment, which may be none. told: the caller knows that it begins."""
        joined.begin(segment.index)
        begins = None if told else segment
        async with aclosing(samples):
            async for some in samples:
                if begins is not None:
                    yield begins
                    begins = None
                if words := _words(joined, segment, some.words):
                    yield Words(words)
                pcm = some.pcm
                while pcm:
                    n_bytes = len(pcm) if joined.heard else 2 * round(_FIRST_S * some.sample_rate)
                    for piece in await self._encode(joined.encode, some.sample_rate, pcm[:n_bytes]):
                        yield piece
                    pcm = pcm[n_bytes:]
        if begins is not None:
            yield begins

    @contextmanager
    def _encoder(self, request: SpeechRequest) -> Iterator[Joined]:
        """Make the encoder of an utterance, and release it in the end, behind a step that still runs."""

        def make(in_rate: int) -> Encoder:
            return make_encoder(
                request.format,
                in_rate=in_rate,
                sample_rate=request.sample_rate,
                bit_rate=self._bit_rate,
                continued=request.resume is not None,
            )

        joined = Joined(make, skip_s=0.0 if request.resume is None else request.resume.skip_s)
        try:
            yield joined
        finally:
            with suppress(RuntimeError):  # the thread has ended with the slot
                self._encoding.submit(joined.close)

    async def _encode(self, step: Callable[..., list[EncodedAudio]], *args: object) -> list[EncodedAudio]:
        return await asyncio.get_running_loop().run_in_executor(self._encoding, partial(step, *args))

    async def _end(self, joined: Joined, request: SpeechRequest) -> list[EncodedAudio]:
        pieces = await self._encode(joined.flush)
        if not joined.heard and request.resume is None:  # who goes on may have heard all of it
            raise NothingToSpeak("the engine made no sound of this text", param="text")
        return pieces


def _words(joined: Joined, segment: Segment, words: Iterable[SpokenWord]) -> tuple[Word, ...]:
    """Return words of a segment by their place in the whole text and in the run's audio."""
    told = []
    for offset, length, start_s, end_s in words:
        start_ms, end_ms = joined.time_ms(start_s), joined.time_ms(end_s)
        if end_ms > 0:
            told.append(Word(segment.offset + offset, length, max(0, start_ms), end_ms))
    return tuple(told)
