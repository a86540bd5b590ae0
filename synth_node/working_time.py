"""The time that an engine works on one segment, its bound, and its mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

_WEIGHT: Final = 0.2


class WorkingTime:
    """A clock that runs while the engine works, and stands while it waits for its listener.

    bound_s: when it shows so much, `on_end` is called; None is no bound.
    """

    def __init__(self, bound_s: float | None = None, on_end: Callable[[], None] = lambda: None) -> None:
        self._loop = asyncio.get_running_loop()
        self._bound_s = bound_s
        self._on_end = on_end
        self._before_s = 0.0
        self._since: float | None = None
        self._end: asyncio.TimerHandle | None = None

    @property
    def seconds(self) -> float:
        """What it shows."""
        return self._before_s + (0.0 if self._since is None else self._loop.time() - self._since)

    def run(self) -> None:
        """Start, or go on."""
        if self._since is None:
            self._since = self._loop.time()
            if self._bound_s is not None:
                self._end = self._loop.call_later(self._bound_s - self._before_s, self._on_end)

    def stop(self) -> None:
        """Stand."""
        self._before_s = self.seconds
        self._since = None
        if self._end is not None:
            self._end.cancel()
            self._end = None


class MeanPerCharacter:
    """The time that an engine works on one character, a moving mean; 0.0 until measured."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def add(self, working_s: float, n_characters: int) -> None:
        """Count one more segment."""
        measured = working_s / n_characters
        self.seconds += (_WEIGHT if self.seconds else 1.0) * (measured - self.seconds)
