"""Engines in every form that a user may write."""

from __future__ import annotations

import asyncio
import io
import math
import struct
import wave
from collections.abc import AsyncIterator, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

RATE = 16000


def sine(seconds: float, rate: int = RATE) -> bytes:
    """Mono s16le samples."""
    return b"".join(
        struct.pack("<h", int(9000 * math.sin(2 * math.pi * 440 * i / rate)))
        for i in range(int(seconds * rate))
    )


def wav(seconds: float, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        samples = sine(seconds, rate)
        if channels == 2:
            samples = b"".join(samples[i : i + 2] * 2 for i in range(0, len(samples), 2))
        writer.writeframes(samples)
    return file.getvalue()


def file_from_text(text: str) -> bytes:
    """The text is the path of the file to return."""
    with open(text, "rb") as file:
        return file.read()


def pieces_from_text(text: str) -> Iterator[bytes]:
    data = file_from_text(text)
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


def whole_wav(text: str) -> bytes:
    return wav(1.0)


def stereo_wav(text: str) -> bytes:
    return wav(1.0, 44100, channels=2)


def wav_in_pieces(text: str) -> Iterable[bytes]:
    data = wav(1.0)
    return [data[start : start + 777] for start in range(0, len(data), 777)]


def pcm(text: str) -> Iterator[bytes]:
    for _ in range(10):
        yield sine(0.1)


pcm.sample_rate = RATE  # type: ignore[attr-defined]


def whole_pcm(text: str) -> bytes:
    return sine(1.0)


whole_pcm.sample_rate = RATE  # type: ignore[attr-defined]


def odd_pcm(text: str) -> Iterator[bytes]:
    """Samples are cut in the middle."""
    data = sine(1.0)
    for start in range(0, len(data), 333):
        yield data[start : start + 333]


odd_pcm.sample_rate = RATE  # type: ignore[attr-defined]


async def async_file(text: str) -> bytes:
    await asyncio.sleep(0)
    return wav(1.0)


async def async_pcm(text: str) -> AsyncIterator[bytes]:
    for _ in range(10):
        await asyncio.sleep(0)
        yield sine(0.1)


async_pcm.sample_rate = RATE  # type: ignore[attr-defined]


class Full:
    """Speaks as long as its options say: 1 s for each thing that arrives as expected."""

    name = "full"
    sample_rate = RATE
    voices = [{"id": "anna", "name": "Anna", "language": "de"}, ("bob", "Bob", "en-gb"), "carl"]  # noqa: RUF012

    def synthesize(self, request: SimpleNamespace) -> Iterator[bytes]:
        assert request.format == "mp3"
        yield sine(1.0)
        if request.voice == "anna":
            yield sine(1.0)
        if request.speed == 2.0:
            yield sine(1.0)

    def close(self) -> None:
        print("closed tidily")  # noqa: T201


class AsyncFull:
    sample_rate = RATE

    async def synthesize(self, request: SimpleNamespace) -> AsyncIterator[bytes]:
        yield sine(1.0)


def options(text: str, *, voice: str = "own default", speed: float) -> Iterator[bytes]:
    yield sine((1.0 if voice == "own default" else 2.0) / speed)


options.sample_rate = RATE  # type: ignore[attr-defined]


def everything(text: str, **kwargs: Any) -> Iterator[bytes]:
    assert set(kwargs) == {"voice", "speed", "format", "sample_rate"}
    yield sine(1.0)


everything.sample_rate = RATE  # type: ignore[attr-defined]
