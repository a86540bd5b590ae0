"""An engine's audio in, the asked format out: passed on, encoded or converted, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from antiphon.errors import BadAudio, NothingToSpeak, UnsupportedFormat
from antiphon.mp3 import FrameCounter
from antiphon.request import SpeechRequest
from synth_node.audio.sniff import ENOUGH_BYTES, sniff

ENCODED_FORMATS: Final = ("mp3",)
"""What is encoded here; any other format is passed on if the engine makes it."""
_CONVERTED_BYTES: Final = 4096
"""How much of a conversion is handed over at a time, after the first bytes."""
_END: Final = object()

Next = Callable[[], Awaitable[bytes | None]]
"""Returns the engine's next bytes, None at the end; raises SpeechError."""


@dataclass(frozen=True, slots=True)
class EncodedAudio:
    """Consecutive bytes of one utterance, encoded as its request asked.

    data: any size above 0. duration_s: what they add to the utterance; the sum is its duration.
    """

    data: bytes
    duration_s: float


async def encode_pcm(
    first: bytes, following: Next, request: SpeechRequest, thread: Executor, sample_rate: int, bit_rate: int
) -> AsyncGenerator[EncodedAudio, None]:
    """Encode mono s16le samples at `sample_rate` Hz; `following` gives those after `first`."""
    from synth_node.audio.encode import Mp3Encoder, mp3_bit_rate, mp3_sample_rate

    out_rate = mp3_sample_rate(sample_rate, request.sample_rate)
    encoder = Mp3Encoder(sample_rate, out_rate, mp3_bit_rate(bit_rate, out_rate))
    loop = asyncio.get_running_loop()
    n_told = 0
    pcm: bytes | None = first
    while pcm is not None:
        data = await loop.run_in_executor(thread, encoder.encode, pcm)
        if data:
            yield EncodedAudio(data, (encoder.n_samples - n_told) / sample_rate)
            n_told = encoder.n_samples
        pcm = await following()
    data = await loop.run_in_executor(thread, encoder.flush)
    if not data:
        raise NothingToSpeak("the engine made no sound of this text", param="text")
    yield EncodedAudio(data, (encoder.n_samples - n_told) / sample_rate)


async def pass_or_convert(
    first: bytes, following: Next, request: SpeechRequest, thread: Executor, bit_rate: int
) -> AsyncGenerator[EncodedAudio, None]:
    """Return what passes a file on byte for byte if it is what was asked for, or else converts it.

    Raises:
        BadAudio: it is no audio. UnsupportedFormat: this engine and this version cannot make what was asked.
    """
    head = first
    while len(head) < ENOUGH_BYTES and (more := await following()) is not None:
        head += more
    found = sniff(head)
    if found is None:
        raise BadAudio("what the engine returned is no audio file")
    if found == request.format == "mp3":
        return _pass_mp3(head, following, request, thread, bit_rate)
    if found == request.format:
        return _pass_whole(head, following, thread)
    if request.format in ENCODED_FORMATS:
        return _convert(head, following, request, thread, bit_rate)
    raise UnsupportedFormat(f"this model made {found}, not {request.format}", param="format")


async def _pass_mp3(
    first: bytes, following: Next, request: SpeechRequest, thread: Executor, bit_rate: int
) -> AsyncGenerator[EncodedAudio, None]:
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
            if request.sample_rate not in (None, counter.sample_rate):
                break
            yield EncodedAudio(held, seconds)
            held, seconds = b"", 0.0
        piece = await following()
    else:
        if held:
            raise BadAudio("there is no frame in the engine's mp3")
        return
    async with aclosing(_convert(held, following, request, thread, bit_rate)) as conversion:
        async for converted in conversion:
            yield converted


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


async def _convert(
    first: bytes, following: Next, request: SpeechRequest, thread: Executor, bit_rate: int
) -> AsyncGenerator[EncodedAudio, None]:
    """Decode and encode on the thread, which asks this loop for the file's next bytes when it needs them."""
    loop = asyncio.get_running_loop()
    source = _Source(first, following)

    def pull() -> bytes | None:
        return asyncio.run_coroutine_threadsafe(source.next(), loop).result()

    work = _transcode(pull, request.sample_rate, bit_rate)
    try:
        while (piece := await loop.run_in_executor(thread, next, work, _END)) is not _END:
            assert isinstance(piece, EncodedAudio)
            yield piece
    finally:
        source.close()
        thread.submit(work.close)  # queues behind a step that still runs; nobody waits for it


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


def _transcode(
    pull: Callable[[], bytes | None], asked_rate: int | None, bit_rate: int
) -> Generator[EncodedAudio, None, None]:
    from synth_node.audio.decode import PulledFile, decoded
    from synth_node.audio.encode import Mp3Encoder, mp3_bit_rate, mp3_sample_rate

    encoder: Mp3Encoder | None = None
    waiting, n_told, in_rate = b"", 0, 1
    for in_rate, pcm in decoded(PulledFile(pull)):
        if encoder is None:
            out_rate = mp3_sample_rate(in_rate, asked_rate)
            encoder = Mp3Encoder(in_rate, out_rate, mp3_bit_rate(bit_rate, out_rate))
        waiting += encoder.encode(pcm)
        if len(waiting) >= (_CONVERTED_BYTES if n_told else 1):
            yield EncodedAudio(waiting, (encoder.n_samples - n_told) / in_rate)
            waiting, n_told = b"", encoder.n_samples
    if encoder is None:
        raise NothingToSpeak("the engine's file has no sound in it", param="text")
    yield EncodedAudio(waiting + encoder.flush(), (encoder.n_samples - n_told) / in_rate)
