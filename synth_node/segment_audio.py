"""The samples of one segment, on their way from who makes them to who listens."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

from synth_node.text.segments import Spoken


class SpokenWord(NamedTuple):
    """One word: characters of its segment's text, seconds after the segment's beginning."""

    offset: int
    length: int
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Samples:
    """Some of a segment's audio. sample_rate: in Hz. pcm: mono s16le. words: that are told of with it."""

    sample_rate: int
    pcm: bytes
    words: tuple[SpokenWord, ...] = ()


class SegmentAudio:
    """One segment and its samples, put in by one task and taken out by another."""

    def __init__(self, spoken: Spoken) -> None:
        self.spoken = spoken
        self.maker: Literal["nobody", "engine", "helper"] = "nobody"
        self.may_be_given = True
        """Whether a helper may make it: one that was lost with it may have died of it."""
        self.n_bytes = 0
        self._pieces: deque[Samples] = deque()
        self._ended = False
        self._failure: Exception | None = None
        self.changed = asyncio.Event()

    def put(self, samples: Samples) -> None:
        """Add what comes next."""
        self._pieces.append(samples)
        self.n_bytes += len(samples.pcm)
        self.changed.set()

    def end(self, failure: Exception | None = None) -> None:
        """Nothing more comes; with a failure, what is there is not the whole."""
        self._ended, self._failure = True, failure
        self.changed.set()

    def renew(self) -> None:
        """Begin anew: somebody else makes it."""
        self._pieces.clear()
        self.maker, self.n_bytes, self._ended, self._failure = "nobody", 0, False, None
        self.changed.set()

    async def next(self) -> Samples | None:
        """Return what comes next, None at the end; raise the failure in its place."""
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            self.changed.clear()
            await self.changed.wait()
        piece = self._pieces.popleft()
        self.n_bytes -= len(piece.pcm)
        self.changed.set()
        return piece
