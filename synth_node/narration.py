"""A long text's segments: made here in order, and ahead by idle slots that help."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final

import structlog

from antiphon.background import Spawn, background
from antiphon.errors import SpeechError
from antiphon.events import AudioChunk, Words
from antiphon.run import Run
from synth_node.help import Help
from synth_node.segment_audio import Samples, SegmentAudio, SpokenWord
from synth_node.text.segments import Spoken

HEAD_BYTES: Final = 1024 * 1024
"""Raw audio that waits of the segment that is being listened to; past it the engine waits."""
AHEAD_BYTES: Final = 8 * 1024 * 1024
"""The same of a segment ahead, and of all that were made ahead here before another is begun."""
_log: Final = structlog.get_logger("synth_node")


Engine = Callable[[Spoken, int | None], AsyncGenerator[Samples, None]]
"""Speaks one segment with the slot's own engine, at a sample rate if one is given; raises SpeechError."""


class _Lost(Exception):
    """A segment's audio will not come from where it was to come from."""


class _WantedEarlier(Exception):
    """The engine is wanted for an earlier segment."""


class Narration:
    """The segments of one utterance, to be listened to in order. Made by `narration`."""

    def __init__(
        self,
        spoken: Sequence[Spoken],
        engine: Engine,
        help: Help | None,
        sample_rate: int | None,
        spawn: Spawn,
    ) -> None:
        self._segments = [SegmentAudio(part) for part in spoken]
        self._engine = engine
        self._help = help
        self._spawn = spawn
        self._at = 0
        self._ahead = 1 if help is None else 2 * help.most + 1  # segments that may be begun ahead
        self._rate = sample_rate
        self._has_sounded = self._asks = False
        self._end = len(self._segments)  # nobody will hear beyond a segment that has failed
        self._n_helping = 0
        self._moved = asyncio.Event()
        self._hint = asyncio.Event()
        spawn(self._work(), "speak segments")
        if sample_rate is not None and help is not None and help.is_slow(spoken[0]):
            self._look_for_help(sample_rate)

    async def segment(self, index: int) -> AsyncGenerator[Samples, None]:
        """Yield the samples of a segment, the one after the last that was asked for. Raises SpeechError."""
        self._at = index
        self._look_around()
        n_given = n_words = 0
        n_skip = skip_words = 0
        while True:
            try:
                samples = await self._segments[index].next()
            except _Lost:
                # Somebody makes it again, and what was heard of it is left out.
                n_skip, skip_words = n_given, n_words
                self._give_back(self._segments[index])
                continue
            if samples is None:
                return
            words, pcm = samples.words[skip_words:], samples.pcm[n_skip:]
            skip_words -= len(samples.words) - len(words)
            n_skip -= len(samples.pcm) - len(pcm)
            n_given += len(pcm)
            n_words += len(words)
            if pcm or words:
                yield Samples(samples.sample_rate, pcm, words)
                self._sounds(samples.sample_rate)

    def _look_around(self) -> None:
        """Have everybody who waits see what has changed."""
        self._moved.set()
        for segment in self._reach():
            segment.changed.set()

    def _reach(self) -> Sequence[SegmentAudio]:
        return self._segments[self._at : min(self._at + self._ahead + 1, self._end)]

    def _next(self) -> int | None:
        """Return the first segment within reach that nobody makes."""
        reach = enumerate(self._reach(), self._at)
        return next((i for i, segment in reach if segment.maker == "nobody"), None)

    def _give_back(self, segment: SegmentAudio) -> None:
        segment.renew()
        self._look_around()

    # -- the slot's own engine

    async def _work(self) -> None:
        """Speak what nobody else does, in order."""
        while True:
            index = self._next()
            if index is None or (index > self._at and not self._may_go_ahead()):
                self._moved.clear()
                await self._moved.wait()
                continue
            segment = self._segments[index]
            segment.maker = "engine"
            try:
                await self._speak(index, segment)
            except _WantedEarlier:
                segment.renew()
            except SpeechError as exc:
                segment.end(exc)
                self._end = index + 1
            else:
                segment.end()

    async def _speak(self, index: int, segment: SegmentAudio) -> None:
        async with aclosing(self._engine(segment.spoken, self._rate)) as pieces:
            async for samples in pieces:
                segment.put(samples)
                if self._rate is None:
                    self._rate = samples.sample_rate
                while segment.n_bytes > (HEAD_BYTES if index == self._at else AHEAD_BYTES):
                    if index != self._at and self._segments[self._at].maker == "nobody":
                        raise _WantedEarlier
                    segment.changed.clear()
                    await segment.changed.wait()

    def _may_go_ahead(self) -> bool:
        n_bytes = sum(segment.n_bytes for segment in self._reach()[1:] if segment.maker == "engine")
        return self._has_sounded and n_bytes <= AHEAD_BYTES

    # -- help

    def _sounds(self, sample_rate: int) -> None:
        """Begin segments ahead, here and elsewhere: the first sound is on its way, and nothing delays it."""
        if not self._has_sounded:
            self._has_sounded = True
            self._moved.set()
            self._look_for_help(sample_rate)

    def _look_for_help(self, sample_rate: int) -> None:
        if self._help is not None and self._help.can_give(sample_rate) and not self._asks:
            self._asks = True
            self._spawn(self._ask(self._help, sample_rate), "ask for help")

    async def _ask(self, help: Help, sample_rate: int) -> None:
        """Give segments ahead to idle slots, one request each."""
        async with help.free_slots(self._hint):
            while True:
                index = self._next_to_give()
                if index is None or self._n_helping >= help.most:
                    self._moved.clear()
                    await self._moved.wait()
                    continue
                self._hint.clear()
                segment = self._segments[index]
                if not (
                    help.is_due(segment.spoken) and await self._helped(help, segment, index, sample_rate)
                ):
                    await self._hint.wait()  # until a slot becomes free

    def _next_to_give(self) -> int | None:
        reach = enumerate(self._reach(), self._at)
        free = (i for i, segment in reach if segment.maker == "nobody" and segment.may_be_given)
        return next(free, None)

    async def _helped(self, help: Help, segment: SegmentAudio, index: int, sample_rate: int) -> bool:
        """Have one segment made by an idle slot; False when there is none."""
        segment.maker = "helper"
        run = await help.ask(segment.spoken, sample_rate)
        if run is None:
            self._give_back(segment)
            return False
        segment.may_be_given = False
        self._n_helping += 1
        self._spawn(self._listen(help, run, segment, index, sample_rate), "listen to a helper")
        return True

    async def _listen(
        self, help: Help, run: Run, segment: SegmentAudio, index: int, sample_rate: int
    ) -> None:
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    if isinstance(event, AudioChunk):
                        segment.put(Samples(sample_rate, event.audio))
                    elif isinstance(event, Words):
                        words = (SpokenWord(w.offset, w.length, w.start_ms / 1000, w.end_ms / 1000)
                                 for w in event.words)  # fmt: skip
                        segment.put(Samples(sample_rate, b"", tuple(words)))
                    while segment.n_bytes > HEAD_BYTES:
                        segment.changed.clear()
                        await segment.changed.wait()
        except SpeechError as exc:
            _log.info("helper lost", node=run.node, code=exc.code)
            if index == self._at:
                segment.end(_Lost())  # behind what of it is there
            else:
                self._give_back(segment)
        else:
            segment.end()
        finally:
            self._n_helping -= 1
            self._moved.set()
            await help.leave(run)


class Alone:
    """The one segment of a short text."""

    def __init__(self, spoken: Sequence[Spoken], engine: Engine) -> None:
        self._spoken = spoken
        self._engine = engine

    def segment(self, index: int) -> AsyncGenerator[Samples, None]:
        """Return the samples of the segment. Raises SpeechError."""
        return self._engine(self._spoken[index], None)


@asynccontextmanager
async def narration(
    spoken: Sequence[Spoken], engine: Engine, help: Help | None, sample_rate: int | None
) -> AsyncIterator[Narration | Alone]:
    """Have segments made, as far ahead as the listener's pace allows; leaving stops all of it.

    sample_rate: of the engine's PCM in Hz; None for one that makes files, until it has made the first.
    """
    if len(spoken) < 2:
        yield Alone(spoken, engine)
        return
    try:
        async with background() as spawn:
            yield Narration(spoken, engine, help, sample_rate, spawn)
    finally:
        if help is not None:
            await help.leave_all()  # also those to whom nobody has listened yet
