"""Engines that speak several texts at once; each text says what is to be done for it.

`<deed>` or `<deed> <argument>`. The audio of a text is its UTF-8 letters as samples, so that nobody can
mistake one for another. What happens is written to the file BATCHES, a line for each event.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import time
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RATE = 16_000
PER_LETTER = 80  # samples


def spoken(text: str) -> bytes:
    """Return the audio of a text: for each of its bytes so many samples of that value."""
    return b"".join(array("h", [letter] * PER_LETTER).tobytes() for letter in text.encode())


def heard(pcm: bytes) -> str:
    """Return the text whose audio this is, exactly; raises ValueError for anything else."""
    samples = array("h", pcm)
    letters = samples[::PER_LETTER]
    if samples != array("h", [letter for letter in letters for _ in range(PER_LETTER)]):
        raise ValueError("this is no text")
    return bytes(letters.tolist()).decode()


def note(**event: Any) -> None:
    """Write an event down; one write, so that processes do not mix."""
    if path := os.environ.get("BATCHES"):
        with open(path, "ab", buffering=0) as file:
            file.write(json.dumps(event).encode() + b"\n")


def do(text: str) -> Any:
    """Do what the text says; return its audio."""
    deed, _, argument = text.partition(" ")
    if deed == "raise":
        raise ValueError(argument)
    if deed == "segfault":
        ctypes.string_at(0)
    elif deed == "hang":
        time.sleep(3600)
    elif deed == "sleep":
        time.sleep(float(argument))
    elif deed == "wait":  # until there is such a file
        while not Path(argument).exists():
            time.sleep(0.001)
    elif deed == "fail":
        return ValueError(argument)
    elif deed == "none":
        return None
    elif deed == "empty":
        return b""
    return spoken(text)


class Whole:
    """All of the batch at once, as a list."""

    sample_rate = RATE
    voices = ["anna", "ben"]  # noqa: RUF012
    aliases = {"alloy": "ben"}  # noqa: RUF012

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> Any:
        note(pid=os.getpid(), texts=[request.text for request in requests])
        if (answer := next((r.text for r in requests if r.text.startswith("return ")), None)) is not None:
            return eval(answer.partition(" ")[2])
        audios = [do(request.text) for request in requests]
        note(done=len(requests))
        return audios


class Options(Whole):
    """Says its options, too."""

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> list[bytes]:
        return [spoken(f"{request.voice} {request.speed} {request.text}") for request in requests]


class Arrays(Whole):
    """Arrays of 16-bit samples in a tuple, and both ways to speak."""

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> tuple[array[int], ...]:
        return tuple(array("h", spoken(request.text)) for request in requests)

    def synthesize(self, request: SimpleNamespace) -> bytes:
        return spoken(f"alone {request.text}")


class AsyncWhole(Whole):
    async def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> list[bytes]:
        await asyncio.sleep(0)
        return [spoken(request.text) for request in requests]


class Streaming:
    """A letter of each text in turn; a text that begins with `endless` has no end."""

    sample_rate = RATE

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> Iterator[tuple[int, Any]]:
        note(pid=os.getpid(), texts=[request.text for request in requests])
        try:
            yield from turns(requests)
        finally:
            note(closed=len(requests))


def turns(requests: Sequence[SimpleNamespace]) -> Iterator[tuple[int, Any]]:
    """Yield (index, letter) for each text in turn, and what a text asks for in the place of its end."""
    at = 0
    going = dict(enumerate(request.text for request in requests))
    while going:
        for index, text in list(going.items()):
            if text.startswith("endless"):
                yield index, spoken(text) * 10
            elif at < len(text):
                yield index, spoken(text[at])
            else:
                del going[index]
                deed, _, argument = text.partition(" ")
                if deed == "index":
                    yield int(argument), b"\0\0"
                elif deed == "odd":
                    yield eval(argument)
                elif deed == "more":
                    yield index, None
                    yield index, b"\0\0"
                elif deed in ("raise", "segfault", "hang"):
                    do(text)
                elif deed == "fail":
                    yield index, ValueError(argument)
                elif deed == "early":
                    yield index, None
        at += 1


class AsyncStreaming(Streaming):
    async def synthesize_batch(  # type: ignore[override]
        self, requests: Sequence[SimpleNamespace]
    ) -> AsyncIterator[tuple[int, Any]]:
        note(texts=[request.text for request in requests])
        try:
            for pair in turns(requests):
                await asyncio.sleep(0)
                yield pair
        finally:
            note(closed=len(requests))


class Endless:
    """Gives the first text a sign, and then nothing more without blocking."""

    sample_rate = RATE

    async def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> AsyncIterator[tuple[int, Any]]:
        try:
            for index, request in enumerate(requests):
                yield index, spoken(request.text)
                if request.text == "end":
                    yield index, None
            await asyncio.sleep(3600)
        finally:
            note(closed=len(requests))


class Files:
    """Whole files, no samples: a text is the path of its file."""

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> list[bytes]:
        return [Path(request.text).read_bytes() for request in requests]


class Worded:
    """Tells when words are heard."""

    sample_rate = RATE
    words = True

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> Iterator[tuple[int, Any]]:
        for index, request in enumerate(requests):
            yield index, (0, len(request.text), 0.0, len(request.text) * PER_LETTER / RATE)
            yield index, spoken(request.text)


class Broken:
    """Cannot start while there is a file BROKEN."""

    sample_rate = RATE

    def __init__(self) -> None:
        if Path(os.environ["BROKEN"]).exists():
            raise RuntimeError("no weights")

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> list[bytes]:
        return [do(request.text) for request in requests]


class Slow(Whole):
    """50 ms for a batch of any size."""

    def synthesize_batch(self, requests: Sequence[SimpleNamespace]) -> list[bytes]:
        note(texts=[request.text for request in requests])
        time.sleep(0.05)
        return [spoken(request.text) for request in requests]
