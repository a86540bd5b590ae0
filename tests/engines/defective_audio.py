"""Engines whose audio has one defect each, which `antiphon check-engine` is to name."""

from __future__ import annotations

import random
import struct
from array import array
from collections.abc import Iterator

from tests.engines.defects import RATE, changed, gives_samples, speech, wav


@gives_samples
def clipped(text: str) -> bytes:
    return changed(text, lambda s: max(-32768, min(32767, 8 * s)))


@gives_samples
def overflowing(text: str) -> bytes:
    return changed(text, lambda s: (5 * s + 32768) % 65536 - 32768)


@gives_samples
def silent(text: str) -> bytes:
    return bytes(2 * len(speech(text)))


@gives_samples
def soft(text: str) -> bytes:
    return speech(text, gain=300).tobytes()


@gives_samples
def offset(text: str) -> bytes:
    return changed(text, lambda s: s + 3000)


@gives_samples
def slow_to_begin(text: str) -> bytes:
    return bytes(2 * RATE) + speech(text).tobytes()


@gives_samples
def slow_to_end(text: str) -> bytes:
    return speech(text).tobytes() + bytes(4 * RATE)


@gives_samples
def floating(text: str) -> bytes:
    return changed(text, lambda s: s / 32768, "f")


@gives_samples
def double(text: str) -> bytes:
    return changed(text, lambda s: s / 32768, "d")


@gives_samples
def big_endian(text: str) -> bytes:
    samples = speech(text)
    samples.byteswap()
    return samples.tobytes()


def stereo_of(text: str, *, right: bool) -> bytes:
    letter = array("h", (s for sample in speech(" ") for s in (sample, sample * right)))
    return (letter * len(text)).tobytes()


@gives_samples
def stereo(text: str) -> bytes:
    return stereo_of(text, right=True)


@gives_samples
def one_sided(text: str) -> bytes:
    return stereo_of(text, right=False)


@gives_samples
def wav_pieces(text: str) -> Iterator[bytes]:
    for word in text.split():
        yield wav(speech(f"{word} "))


@gives_samples
def cut_in_half(text: str) -> bytes:
    return speech(text).tobytes()[:-1]


def wrong_rate(text: str) -> bytes:
    return speech(text).tobytes()


wrong_rate.sample_rate = 2 * RATE  # type: ignore[attr-defined]


def bare_samples(text: str) -> bytes:
    """Has no sample_rate."""
    return speech(text).tobytes()


def glued_files(text: str) -> bytes:
    return wav(speech(text)) + wav(speech(text))


def broken_file(text: str) -> bytes:
    return struct.pack("<4sI4s", b"RIFF", 1000, b"WAVE") + b"fmt " + bytes(1000)


@gives_samples
def noise(text: str) -> bytes:
    return random.randbytes(2 * len(speech(text)))
