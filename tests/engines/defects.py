"""Engines that do one thing wrong each, which `antiphon check-engine` is to name; sound ones of each form."""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import io
import math
import os
import random
import sys
import tempfile
import time
import wave
from array import array
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

RATE = 8000
Function = TypeVar("Function", bound=Callable[..., Any])


def speech(text: str, *, speed: float = 1.0, pitch: float = 220.0, gain: float = 9000.0) -> array[int]:
    """Samples as long as the text is when it is read aloud: each letter is a hum that swells and fades."""
    n_samples = round(0.065 * RATE / speed)
    step, swell = 2 * math.pi * pitch / RATE, math.pi / n_samples
    letter = (round(gain * math.sin(step * i) * math.sin(swell * i)) for i in range(n_samples))
    return array("h", letter) * len(text)


def changed(text: str, change: Callable[[int], Any], typecode: str = "h") -> bytes:
    """The same with each sample changed."""
    return (array(typecode, map(change, speech(" "))) * len(text)).tobytes()


def wav(samples: array[int], rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, rate, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    return file.getvalue()


def gives_samples(function: Function) -> Function:
    function.sample_rate = RATE  # type: ignore[attr-defined]
    return function


# -- sound ones, of each form


def whole_file(text: str) -> bytes:
    return wav(speech(text))


@gives_samples
def generator(text: str, *, voice: str = "low", speed: float = 1.0) -> Iterator[bytes]:
    samples = speech(text, speed=speed, pitch={"low": 220, "high": 330}[voice]).tobytes()
    for start in range(0, len(samples), 4000):
        yield samples[start : start + 4000]


generator.voices = ["low", "high"]  # type: ignore[attr-defined]


async def async_function(text: str) -> bytes:
    await asyncio.sleep(0)
    return wav(speech(text))


@gives_samples
async def async_generator(text: str) -> AsyncIterator[bytes]:
    for letter in text:
        await asyncio.sleep(0)
        yield speech(letter).tobytes()


class Whole:
    """Refuses what it cannot do."""

    sample_rate = RATE

    def synthesize(self, request: SimpleNamespace) -> Iterator[bytes]:
        if request.speed != 1:
            raise Refused
        yield speech(request.text).tobytes()


class Batches:
    """Speaks several at once, and one as a list of one."""

    sample_rate = RATE

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> list[bytes]:
        return [speech(request.text, speed=request.speed).tobytes() for request in requests]


class Refused(Exception):
    antiphon_code = "invalid_request"


# -- what they do


@gives_samples
def moody(text: str) -> bytes:
    """Is never the same."""
    return speech(text, speed=random.uniform(0.85, 1.15)).tobytes()


@gives_samples
def by_process(text: str) -> bytes:
    """Says it in another way in each process that one parent starts."""
    return speech(text, speed=0.85 + _number_among_siblings() / 20).tobytes()


@cache
def _number_among_siblings() -> int:
    with open(Path(tempfile.gettempdir()) / f"antiphon-test-siblings-{os.getppid()}", "a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b".")
        return file.tell() % 8


@gives_samples
def one_speed(text: str, speed: float = 1.0) -> bytes:
    return speech(text).tobytes()


@gives_samples
def length_scale(text: str, speed: float = 1.0) -> bytes:
    return speech(text, speed=1 / speed).tobytes()


@gives_samples
def one_voice(text: str, voice: str = "a") -> bytes:
    return speech(text).tobytes()


one_voice.voices = ["a", "b"]  # type: ignore[attr-defined]


@gives_samples
def dumb_voice(text: str, voice: str = "a") -> bytes:
    if voice == "b":
        raise KeyError(voice)
    return speech(text).tobytes()


dumb_voice.voices = ["a", "b"]  # type: ignore[attr-defined]


@gives_samples
def emoji_crash(text: str) -> bytes:
    if "😀" in text:
        ctypes.string_at(0)
    return speech(text).tobytes()


@gives_samples
def latin_only(text: str) -> bytes:
    text.encode("latin-1")
    return speech(text).tobytes()


@gives_samples
def short_texts(text: str) -> bytes:
    if len(text) > 500:
        raise IndexError("more than 500 positions")
    return speech(text).tobytes()


_calls: list[str] = []
_kept: list[bytes] = []


@gives_samples
def dies_later(text: str) -> bytes:
    _calls.append(text)
    if len(_calls) == 4:
        os._exit(3)
    return speech(text).tobytes()


@gives_samples
def raises(text: str) -> bytes:
    raise RuntimeError("no weights")


def without_text() -> bytes:
    return b""


@gives_samples
def dies(text: str) -> bytes:
    os._exit(3)


def nothing(text: str) -> None:
    return None


@gives_samples
def empty(text: str) -> bytes:
    return b""


@gives_samples
def hangs(text: str) -> bytes:
    time.sleep(3600)
    return b""


@gives_samples
def endless(text: str) -> Iterator[bytes]:
    while True:
        yield speech(text).tobytes()


@gives_samples
def leaks(text: str) -> bytes:
    _kept.append(os.urandom(1024 * 1024))
    return speech(text).tobytes()


class Blocks:
    """Takes a while to load; then it cannot be stopped, and a long text takes longer than that."""

    sample_rate = RATE

    def __init__(self) -> None:
        time.sleep(0.3)

    def synthesize(self, request: SimpleNamespace) -> bytes:
        time.sleep(0.004 * min(300, len(request.text)))
        return speech(request.text, speed=request.speed).tobytes()


@gives_samples
def slow(text: str) -> bytes:
    """Takes three tenths of a second for what is to be spoken in good earnest."""
    if text.startswith("Good"):
        time.sleep(0.3)
    return speech(text).tobytes()


@gives_samples
def one_by_one(text: str) -> Iterator[bytes]:
    """Takes its time between the pieces of what is to be spoken in good earnest."""
    for letter in text:
        yield speech(letter).tobytes()
        if text.startswith("Good") and len(text) < 50:
            time.sleep(0.005)


@gives_samples
def hangs_on_a_stop(text: str) -> bytes:
    if text == ".":
        time.sleep(3600)
    return speech(text).tobytes()


@gives_samples
def cold(text: str) -> bytes:
    if not _calls:
        time.sleep(0.5)
    _calls.append(text)
    return speech(text).tobytes()


@gives_samples
def talkative(text: str) -> bytes:
    print("speaking with", sys.version)  # noqa: T201
    return speech(text).tobytes()


@gives_samples
def indiscreet(text: str) -> bytes:
    print("speaking:", text)  # noqa: T201
    return speech(text).tobytes()


class Sticky:
    """Cannot end."""

    sample_rate = RATE

    def synthesize(self, request: SimpleNamespace) -> bytes:
        return speech(request.text, speed=request.speed).tobytes()

    def close(self) -> None:
        time.sleep(3600)
