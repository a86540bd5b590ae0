"""Frames that carry numbers, in their order. Pure."""

from __future__ import annotations

import heapq
from typing import Final

from synth_node.engines.xunfei.protocol import Frame

WINDOW: Final = 2
"""Frames that are held back for an earlier one; then there is none: numbers may begin at 1 or have gaps."""


class Ordered:
    """Takes the frames of one session as they come, gives their audio out in the order of their numbers."""

    def __init__(self) -> None:
        self._next = 0
        self._held: list[tuple[int, int, bytes]] = []
        self._n_taken = 0

    def add(self, frame: Frame) -> bytes:
        """Return the audio whose turn it is now; with the last frame it is all that is left."""
        before = b""
        if frame.seq is not None and frame.seq >= self._next:
            self._n_taken += 1  # of equal numbers the first to come is the first
            heapq.heappush(self._held, (frame.seq, self._n_taken, frame.audio))
        elif frame.seq is not None:  # too late for its place
            before = frame.audio
        elif frame.audio:
            before = self._given(everything=True) + frame.audio
        return before + self._given(everything=frame.last)

    def _given(self, *, everything: bool) -> bytes:
        audio = b""
        while self._held and (everything or self._held[0][0] <= self._next or len(self._held) > WINDOW):
            seq, _, piece = heapq.heappop(self._held)
            audio += piece
            self._next = seq + 1
        return audio
