"""How the audio of one run gets to its caller; as a stream or as one plain reply, see the modules of each."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from antiphon.errors import SpeechError
from antiphon.events import Position, Segment, Words

_MAX_TEXT_CHARACTERS: Final = 400


def short_text(text: str) -> str:
    """Return `text` on one line, short enough for any message."""
    return " ".join(text.split())[:_MAX_TEXT_CHARACTERS]


class Buffer:
    """Encoded audio that a node keeps for slow callers, in bytes, over all of its runs."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._n_bytes = 0
        self._freed = asyncio.Event()

    def add(self, n_bytes: int) -> None:
        """Note that `n_bytes` more (or, below zero, less) are kept."""
        self._n_bytes += n_bytes
        if n_bytes < 0:
            self._freed.set()

    @property
    def is_full(self) -> bool:
        """Whether the limit is passed."""
        return self._n_bytes > self._limit

    async def change(self) -> None:
        """Wait until less is kept."""
        self._freed.clear()
        await self._freed.wait()


class Delivery(Protocol):
    """Where a run's audio goes."""

    async def accept(self, node: str, slot: int, model: str) -> None:
        """Tell the caller that a slot has taken the request."""

    async def audio(self, data: bytes, at: Position | None = None) -> None:
        """Deliver audio, or wait while the caller is too far behind. Raises AudioTooLarge.

        at: where a listener is who has heard it.
        """

    async def tell(self, event: Segment | Words) -> None:
        """Tell the caller of the audio that follows."""

    async def end(self, *, audio_ms: int, synthesis_ms: int) -> None:
        """Tell the caller that the audio is complete."""

    async def fail(self, exc: SpeechError) -> None:
        """Tell the caller that there is no (more) audio."""

    def credit(self, n_bytes: int, total: int | None) -> None:
        """Note that the caller has consumed `n_bytes` more; `total` in all, if it says so."""

    def close(self) -> None:
        """Deliver nothing more."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to send."""

    async def delivered(self) -> None:
        """Wait until all has been sent, or the delivery is closed."""
