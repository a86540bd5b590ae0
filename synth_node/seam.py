"""When to let a stream's audio out, so that another node can go on between two sentences. No I/O."""

from __future__ import annotations

from typing import Final

from antiphon.events import Position

LEAD_S: Final = 2.0
"""Audio that a listener has ahead of the ear before any is held back."""
_HELD_BYTES: Final = 256 * 1024


class Seam:
    """Holds audio back until its segment is complete, as long as the listener has enough.

    A listener cannot be further than the time that has passed since the first audio was let out.
    """

    def __init__(self) -> None:
        self._first_at: float | None = None
        self._out = Position(0, 0.0, 0.0)
        self._newest = self._out
        self._n_held = 0

    def wait_s(self, n_bytes: int, at: Position | None, now: float) -> float:
        """Return for how many seconds audio that ends at `at` may be held; 0 is to let all out now."""
        self._n_held += n_bytes
        if at is None or self._first_at is None:
            self._newest = at or self._newest
            return 0.0
        self._newest = at
        if at.segment != self._out.segment or self._n_held > _HELD_BYTES:
            return 0.0
        lead_s = self._out.run_s - (now - self._first_at)
        return max(0.0, lead_s - LEAD_S)

    def released(self, now: float) -> None:
        """Note that all that was held is out."""
        if self._first_at is None:
            self._first_at = now
        self._out = self._newest
        self._n_held = 0
