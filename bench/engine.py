"""Engines for the benchmarks. They run in a node's engine process, loaded by the path of this file."""

from __future__ import annotations

import ctypes
import hashlib
import math
import os
import random
import struct
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import lameenc

SAMPLE_RATE = 24_000
ANSWER_BYTES = 20_000


@cache
def mp3(n_bytes: int) -> bytes:
    """Return an mp3 of about `n_bytes`, the same in every process: a tone at 64 kbit/s."""
    encoder = lameenc.Encoder()
    encoder.set_bit_rate(64)
    encoder.set_in_sample_rate(SAMPLE_RATE)
    encoder.set_channels(1)
    encoder.silence()
    n_samples = n_bytes * 8 * SAMPLE_RATE // 64_000
    tone = (round(8000 * math.sin(2 * math.pi * 440 * i / SAMPLE_RATE)) for i in range(n_samples))
    pcm = struct.pack(f"<{n_samples}h", *tone)
    return bytes(encoder.encode(pcm)) + bytes(encoder.flush())


def fingerprinted(text: str) -> bytes:
    """Return a short mp3 that carries the fingerprint of `text` in an ID3v2.4 tag (frame TXXX)."""
    return _tag(hashlib.sha256(text.encode()).hexdigest()) + mp3(800)


def _tag(value: str) -> bytes:
    content = b"\x03fingerprint\0" + value.encode()
    frame = b"TXXX" + _syncsafe(len(content)) + b"\0\0" + content
    return b"ID3\x04\0\0" + _syncsafe(len(frame)) + frame


def _syncsafe(n: int) -> bytes:
    """Return `n` in four bytes of seven bits each. Source: id3v2.4.0-structure, 6.2."""
    return bytes(n >> shift & 0x7F for shift in (21, 14, 7, 0))


def service_s(text: str) -> float:
    """Return the service time that a text asks for: it begins with "ms=<milliseconds> "."""
    return float(text.partition(" ")[0].removeprefix("ms=")) / 1000


mp3(ANSWER_BYTES), mp3(800)  # made now, so that no request pays for it


def passthrough(text: str) -> bytes:
    """Take no time: the same 20 KB for every text."""
    return mp3(ANSWER_BYTES)


def sleeper(text: str) -> bytes:
    """Take exactly the time that the text asks for; the answer carries the text's fingerprint."""
    until = time.monotonic() + service_s(text)
    audio = fingerprinted(text)
    time.sleep(max(0.0, until - time.monotonic()))
    return audio


class Crasher:
    """Take the time that the text asks for, like `sleeper`, and crash somewhere in it, in so many calls.

    The environment says in what share of the calls (BENCH_CRASH), and how long a start takes (BENCH_START_S).
    """

    def __init__(self) -> None:
        self._share = float(os.environ["BENCH_CRASH"])
        time.sleep(float(os.environ["BENCH_START_S"]))

    def synthesize(self, request: Any) -> bytes:
        """Return the text's fingerprint, or die of a segmentation fault."""
        if random.random() < self._share:
            time.sleep(random.random() * service_s(request.text))
            ctypes.string_at(0)
        return sleeper(request.text)


class Batcher:
    """Take the longest time that a text of the batch asks for, and a tenth of it more for each other text.

    A line of the file BENCH_STAMPS tells of each batch: its size, its begin and its end on the monotonic
    clock, which all processes of a machine share.
    """

    def synthesize_batch(self, requests: Sequence[Any]) -> list[bytes]:
        """Return the texts' fingerprints."""
        began = time.monotonic()
        service = max(service_s(request.text) for request in requests)
        until = began + service * (1 + 0.1 * (len(requests) - 1))
        audios = [fingerprinted(request.text) for request in requests]
        time.sleep(max(0.0, until - time.monotonic()))
        with open(os.environ["BENCH_STAMPS"], "a") as file:
            file.write(f"{len(requests)} {began!r} {time.monotonic()!r}\n")
        return audios


class Reader:
    """Sleep in proportion to the text, and yield a tone in proportion: a reader that costs no CPU.

    The environment says how long, in milliseconds per character: BENCH_MS, and BENCH_AUDIO_MS of audio.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self) -> None:
        self._s, self._audio_s = (float(os.environ[name]) / 1000 for name in ("BENCH_MS", "BENCH_AUDIO_MS"))

    def synthesize(self, request: Any) -> Iterator[bytes]:
        """Yield a piece for every 20 characters, when they have been read."""
        until, n_all = time.monotonic(), len(request.text)
        for start in range(0, n_all, 20):
            n_characters = min(20, n_all - start)
            until += n_characters * self._s
            time.sleep(max(0.0, until - time.monotonic()))
            yield _tone(round(n_characters * self._audio_s * SAMPLE_RATE))


class Stamped:
    """Yield 200 ms of a tone, 100 ms later the same; the file BENCH_STAMPS tells when the first left."""

    sample_rate = SAMPLE_RATE

    def synthesize(self, request: Any) -> Iterator[bytes]:
        """Write a line of seconds on the monotonic clock, which all processes of a machine share."""
        piece = _tone(SAMPLE_RATE // 5)
        left_at = time.monotonic()
        yield piece
        with open(os.environ["BENCH_STAMPS"], "a") as file:
            file.write(f"{left_at!r}\n")
        time.sleep(0.1)
        yield piece


@cache
def _tone(n_samples: int) -> bytes:
    """Return a tone that changes its pitch: one that does not is easier to encode than speech."""
    phases = (0.07 * i + 12 * math.sin(i / 1500) for i in range(n_samples))
    return struct.pack(f"<{n_samples}h", *(round(8000 * math.sin(phase)) for phase in phases))
