"""An engine's file: passed on if it is what was asked for, else decoded as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from antiphon.errors import BadAudio
from antiphon.events import Position
from antiphon.mp3 import FrameCounter
from antiphon.request import SpeechRequest
from synth_node.audio.sniff import ENOUGH_BYTES, sniff

_END: Final = object()
_FRAME_BYTES: Final = 64 * 1024
"""In so many bytes of an mp3 its first frame begins, or it is none."""

Next = Callable[[], Awaitable[bytes | None]]
"""Returns the engine's next bytes, None at the end; raises SpeechError."""


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """Consecutive bytes of one utterance, encoded as its request asked.

    data: any size above 0. duration_s: what they add to the utterance; the sum is its duration.
    at: where a listener is who has heard them; None where that is not known.
    """

    data: bytes
    duration_s: float
    at: Position | None = None


async def file_head(first: bytes, following: Next) -> tuple[bytes, str]:
    """Return the first bytes of the engine's file, enough to know its format, and that format.

    Raises:
        BadAudio: it is no audio.
    """
    head = first
    while len(head) < ENOUGH_BYTES and (more := await following()) is not None:
        head += more
    found = sniff(head)
    if found is None:
        raise BadAudio("what the engine returned is no audio file")
    return head, found


async def passes(head: bytes, found: str, following: Next, request: SpeechRequest) -> tuple[bytes, bool]:
    """Tell whether a file of the format `found` is what was asked for; return what was read for it, too."""
    if found != request.format or found == "pcm":
        return head, False
    if found != "mp3" or request.sample_rate is None:
        return head, True
    counter, n_counted = FrameCounter(), 0
    try:
        while True:
            counter.feed(head[n_counted:])
            n_counted = len(head)
            if counter.n_frames or n_counted > _FRAME_BYTES or (more := await following()) is None:
                break
            head += more
    except ValueError as exc:
        raise BadAudio(f"the engine's mp3 is broken: {exc}") from exc
    return head, counter.sample_rate == request.sample_rate


async def passed_on(
    head: bytes, following: Next, format: str, thread: Executor
) -> AsyncGenerator[EncodedAudio, None]:
    """Yield the engine's file byte for byte. Raises BadAudio."""
    pieces = _pass_mp3(head, following) if format == "mp3" else _pass_whole(head, following, thread)
    async for piece in pieces:
        yield piece


async def _pass_mp3(first: bytes, following: Next) -> AsyncGenerator[EncodedAudio, None]:
    counter = FrameCounter()
    held, seconds = b"", 0.0
    piece: bytes | None = first
    while piece is not None:
        try:
            seconds += counter.feed(piece)
        except ValueError as exc:
            raise BadAudio(f"the engine's mp3 is broken: {exc}") from exc
        held = held + piece if held else piece
        if counter.n_frames:
            yield EncodedAudio(held, seconds)
            held, seconds = b"", 0.0
        piece = await following()
    if held:
        raise BadAudio("there is no frame in the engine's mp3")


async def _pass_whole(first: bytes, following: Next, thread: Executor) -> AsyncGenerator[EncodedAudio, None]:
    """Pass on a file whose duration is known at its end only: the last piece carries it."""
    pieces = [first]
    while (piece := await following()) is not None:
        yield EncodedAudio(pieces[-1], 0.0)
        pieces.append(piece)
    seconds = await asyncio.get_running_loop().run_in_executor(thread, _duration_s, b"".join(pieces))
    yield EncodedAudio(pieces[-1], seconds)


def _duration_s(file: bytes) -> float:
    from synth_node.audio.decode import PulledFile, decoded

    pieces = iter((file,))
    return sum(len(pcm) / 2 / rate for rate, pcm in decoded(PulledFile(lambda: next(pieces, None))))


async def decoded_as_it_comes(
    head: bytes, following: Next, thread: Executor, sample_rate: int | None
) -> AsyncGenerator[tuple[int, bytes], None]:
    """Yield (sample rate in Hz, mono s16le samples) of a file. The thread is blocked while it waits for more.

    sample_rate: to resample to, in Hz; None keeps the file's own.
    """
    loop = asyncio.get_running_loop()
    source = _Source(head, following)

    def pull() -> bytes | None:
        return asyncio.run_coroutine_threadsafe(source.next(), loop).result()

    work = _decode(pull, sample_rate)
    try:
        while (piece := await loop.run_in_executor(thread, next, work, _END)) is not _END:
            assert isinstance(piece, tuple)
            yield piece
    finally:
        source.close()
        thread.submit(work.close)  # queues behind a step that still runs; nobody waits for it


def _decode(
    pull: Callable[[], bytes | None], sample_rate: int | None
) -> Generator[tuple[int, bytes], None, None]:
    from synth_node.audio.decode import PulledFile, decoded

    yield from decoded(PulledFile(pull), sample_rate)


class _Source:
    """Gives the thread the file's bytes; all of it runs on the loop."""

    def __init__(self, first: bytes, following: Next) -> None:
        self._first = first
        self._following = following
        self._reader: asyncio.Task[object] | None = None
        self._closed = False

    async def next(self) -> bytes | None:
        if self._closed:
            return None
        if self._first:
            first, self._first = self._first, b""
            return first
        self._reader = asyncio.current_task()
        try:
            return await self._following()
        finally:
            self._reader = None

    def close(self) -> None:
        self._closed = True
        if self._reader is not None:
            self._reader.cancel()
