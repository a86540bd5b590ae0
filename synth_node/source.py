"""The slot's own engine as a source of samples, one segment at a time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import aclosing, asynccontextmanager

from antiphon.request import SpeechRequest
from synth_node.audio.pipeline import decoded_as_it_comes, file_head
from synth_node.host import EngineRequest, Host, NotStarted, Speaking
from synth_node.segment_audio import Samples, SpokenWord
from synth_node.text.segments import Part, Spoken


class Source:
    """Speaks with an engine. decoding: a thread that may wait for what the engine makes."""

    def __init__(self, host: Host, decoding: Executor) -> None:
        self._host = host
        self._decoding = decoding
        self._begun: Speaking | None = None
        self._alone = False
        self._under_way = False

    @asynccontextmanager
    async def cut(
        self, request: SpeechRequest, parts: Iterator[Part], *, alone: bool
    ) -> AsyncIterator[list[Part]]:
        """Give the parts of a text, while the engine has begun with the first segment; only when free.

        Where the request goes on with a lost run, the engine has not begun. alone: see EngineRequest.
        """
        self._alone, self._under_way = alone, False
        text: list[Part] = []
        try:
            for part in parts:
                text.append(part)
                if isinstance(part, Spoken) and self._begun is None and request.resume is None:
                    self._begun = self._start(request, part.text)
            yield text
        finally:
            if self._begun is not None:
                self.leave(self._begun)
                self._begun = None

    async def samples(
        self, request: SpeechRequest, spoken: Spoken, sample_rate: int | None
    ) -> AsyncGenerator[Samples, None]:
        """Speak one segment with this slot's engine."""
        utterance, piece = await self.begin(request, spoken.text)
        self._under_way = True
        try:
            if (rate := utterance.sample_rate) and piece is not None:
                half = b""  # of a sample, to be completed; at the end of a segment it is none
                while piece is not None:
                    words = tuple(
                        SpokenWord(word.offset, word.length, word.start / rate, word.end / rate)
                        for word in utterance.take_words()
                    )
                    piece = half + piece if half else piece
                    n_whole = len(piece) & ~1
                    half = piece[n_whole:]
                    yield Samples(rate, piece[:n_whole], words)
                    piece = await utterance.next()
            elif piece is not None:
                head, _ = await file_head(piece, utterance.next)
                decoded = decoded_as_it_comes(head, utterance.next, self._decoding, sample_rate)
                async with aclosing(decoded):
                    async for rate, pcm in decoded:
                        yield Samples(rate, pcm)
        finally:
            self.leave(utterance)

    async def begin(self, request: SpeechRequest, text: str) -> tuple[Speaking, bytes | None]:
        """Return the utterance and its first bytes; it has been left if this raises."""
        while True:
            if self._begun is None:
                await self._host.free()
                utterance = self._start(request, text)
            else:
                utterance, self._begun = self._begun, None
            try:
                return utterance, await utterance.next()
            except NotStarted:
                continue
            except BaseException:
                self._host.leave(utterance)
                raise

    def _start(self, request: SpeechRequest, text: str) -> Speaking:
        return self._host.speak(
            EngineRequest(
                text=text,
                voice=request.voice,
                speed=request.speed,
                format=request.format,
                sample_rate=request.sample_rate,
                input_type=request.input_type,
                timestamps=request.timestamps,
                alone=self._alone,
                under_way=self._under_way,
            )
        )

    def leave(self, utterance: Speaking) -> None:
        """Want no more of an utterance; if the engine is still at it, it is cancelled."""
        self._host.leave(utterance)
