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
            self._emit(audio(piece, self._engine.sample_rate))

    def _word(self, *word: Any) -> None:
        try:
            offset, length, start_s, end_s = word
            rate = self._engine.sample_rate
            sent = int(offset), int(length), round(start_s * rate), round(end_s * rate)
        except (TypeError, ValueError, OverflowError):
            # Only numbers are repeated: a text may be the caller's, and this goes to the log.
            given = ", ".join(
                repr(part) if isinstance(part, (int, float)) else kind_of(part) for part in word
            )
            raise WrongType(
                f"the engine gave ({given}) as a word; it must be (offset, length, start, end)"
            ) from None
        if self._wanted:
            self._emit.word(*sent)


def audio(piece: Any, sample_rate: int | None) -> bytes:
    """Return a piece of audio as bytes. Raises WrongType, with what to do about it.

    sample_rate: that of the engine's samples in Hz; None if it makes files.
    """
    if isinstance(piece, bytes):
        return piece
    view = view_of(piece)
    if view is None:
        raise WrongType(
            f"the engine gave {kind_of(piece)} as a piece of audio; "
            f"it must be bytes or an array of 16-bit integers{_instead_of(piece)}"
        )
    if view.format in ("b", "B", "c"):
        return view.tobytes()
    if view.format not in ("h", "<h"):
        wanted = f"they must be 16-bit integers{_converted(view)}"
        raise WrongType(f"the engine gave samples of type {_type_of(view)}; {wanted}")
    if sample_rate is None:
        raise WrongType(
            "the engine gave samples, and has no attribute sample_rate that says their rate in Hz"
        )
    if sum(size > 1 for size in view.shape or ()) > 1:
        shape = " x ".join(map(str, view.shape or ()))
        raise WrongType(f"the engine gave {shape} samples at once; they must be one row, of one channel")
    return view.tobytes()


def view_of(piece: Any) -> memoryview | None:
    """Return the bytes that `piece` stands for; None for what is no array."""
    try:
        return memoryview(piece)
    except (TypeError, ValueError, BufferError):
        return None


def _instead_of(piece: Any) -> str:
    """Return how to make samples of what is often given in their place."""
    if hasattr(piece, "__array__"):  # a tensor
        return ": (samples.clip(-1, 1) * 32767).short().cpu().numpy()"
    if isinstance(piece, (int, float)):
        return ", not one number; the sample rate is an attribute, sample_rate"
    return "; the sample rate is an attribute, sample_rate" if isinstance(piece, tuple) else ""


def _type_of(view: memoryview) -> str:
    """Return numpy's name of its numbers."""
    kinds = {"float": "efdg", "int": "bhilqn", "uint": "BHILQN"}
    for kind, codes in kinds.items():
        if view.format[-1] in codes:
            return f"{kind}{8 * view.itemsize}"
    return repr(view.format)


def _converted(view: memoryview) -> str:
    if _type_of(view).startswith("float"):
        return ": (samples.clip(-1, 1) * 32767).astype('<i2')"
    return ", low byte first: samples.astype('<i2')" if view.format == ">h" else ""


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
