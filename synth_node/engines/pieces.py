"""Reads what an engine gives, piece by piece.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Callable  # noqa: UP035  (Python 3.8)


class WrongType(TypeError):
    """The engine gave something that is no audio."""


class Listener:
    """Takes what an engine yields: pieces of audio and, from one that has them, words.

    A word is (offset, length, start, end): characters of the text, seconds of the utterance.
    """

    def __init__(self, engine: Any, request: SimpleNamespace, emit: Any) -> None:
        self._engine = engine
        self._wanted = request.timestamps
        self._emit = emit

    def __call__(self, piece: Any) -> None:
        if isinstance(piece, tuple) and self._engine.words:
            self._word(*piece)
        else:
            self._emit(samples(piece))

    def _word(self, *word: Any) -> None:
        try:
            offset, length, start_s, end_s = word
            rate = self._engine.sample_rate
            sent = int(offset), int(length), round(start_s * rate), round(end_s * rate)
        except (TypeError, ValueError, OverflowError):
            raise WrongType(
                f"the engine gave {word!r} as a word; it must be (offset, length, start, end)"
            ) from None
        if self._wanted:
            self._emit.word(*sent)


def samples(piece: Any) -> bytes:
    """Return a piece of audio as bytes. Raises WrongType."""
    if isinstance(piece, bytes):
        return piece
    try:
        view = memoryview(piece)
    except TypeError:
        raise WrongType(f"the engine gave {kind_of(piece)} as a piece of audio; it must be bytes") from None
    if view.format not in ("b", "B", "c", "h", "<h"):
        raise WrongType(f"the engine gave samples of type {view.format!r}; they must be 16-bit integers")
    return view.tobytes()


def hear_each(pieces: Any, hear: Callable[[Any], None]) -> None:
    """Give each piece to `hear`; a generator is closed in any case."""
    pieces = iter(pieces)
    try:
        for piece in pieces:
            hear(piece)
    finally:
        if hasattr(pieces, "close"):
            pieces.close()


async def hear_all(pieces: Any, hear: Callable[[Any], None]) -> None:
    """Give each piece of an asynchronous iterator to `hear`; a generator is closed in any case."""
    try:
        async for piece in pieces:
            hear(piece)
    finally:
        if hasattr(pieces, "aclose"):
            await pieces.aclose()


def kind_of(value: object) -> str:
    """Return what people call the type of `value`."""
    return "None" if value is None else f"{type(value).__name__}"
