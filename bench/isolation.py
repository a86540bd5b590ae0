"""One client that hardly reads, and what another one notices of it."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import uvloop

from bench.http_stream import Stream, streamed
from bench.processes import Gateway, processes
from bench.tables import quantile, show
from bench.texts import FIRST, prose

PAUSE_S: Final = 0.03
LONG_WORDS: Final = 400


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench isolation")
    parser.add_argument("-n", type=int, default=40, help="sentences in each round")
    parser.add_argument("--rounds", type=int, default=4, help="with the slow client, and as many without")
    parser.add_argument("--words", type=int, default=8000, help="of the slow client's stream")
    chosen = parser.parse_args(options)
    with processes() as group:
        group.node("tone", slots=2)
        gateway = group.gateway()
        gateway.wait_for_slots(2)
        rows = uvloop.run(_rows(gateway, chosen))
    show(
        f"isolation: one client reads 1 byte a second of {chosen.words} words of wav, on one of two slots; "
        f"another asks for a sentence {chosen.n * chosen.rounds} times, and for {LONG_WORDS} words of mp3",
        ["", "first audio p50 ms", "first audio p90 ms", "sentence p50 ms", "long stream s"],
        rows,
        "Ideal: a ratio of 1.",
    )


async def _rows(gateway: Gateway, chosen: argparse.Namespace) -> list[list[object]]:
    slow_text = prose(chosen.words)
    measured: dict[bool, list[list[float]]] = {False: [[], [], []], True: [[], [], []]}
    await _ask(gateway, chosen.n)  # warms up
    for number in range(2 * chosen.rounds):
        is_slow = number % 2 == 1
        async with _slow_client(gateway, slow_text) if is_slow else nullcontext():
            for values, more in zip(measured[is_slow], await _ask(gateway, chosen.n), strict=True):
                values += more
    rows: list[list[float]] = []
    for first_ms, whole_ms, long_s in (measured[False], measured[True]):
        figures = quantile(first_ms, 0.5), quantile(first_ms, 0.9), quantile(whole_ms, 0.5)
        rows.append([*figures, quantile(long_s, 0.5)])
    ratios = [slow / alone for alone, slow in zip(*rows, strict=True)]
    names = ("alone", "beside the slow client", "ratio")
    return [[name, *row] for name, row in zip(names, [*rows, ratios], strict=True)]


@asynccontextmanager
async def _slow_client(gateway: Gateway, text: str) -> AsyncIterator[None]:
    """Have a client listen that reads a byte a second; everything on the way to it is full by then."""
    body: dict[str, object] = {"text": text, "stream": True, "format": "wav"}
    async with streamed(gateway.port, "/tts", body, slow=True) as stream:
        await stream.begin()
        reading = asyncio.create_task(_drip(stream), name="slow client")
        await asyncio.sleep(2.0)  # until whatever is willing to buffer is full
        try:
            yield
            if reading.done():
                raise RuntimeError("the slow client has come to an end: its stream is too short")
        finally:
            reading.cancel()
            await asyncio.wait([reading])
    await asyncio.sleep(0.5)


async def _drip(stream: Stream) -> None:
    while True:
        if not await stream.read(1):
            return
        await asyncio.sleep(1.0)


async def _ask(gateway: Gateway, n: int) -> tuple[list[float], list[float], list[float]]:
    """Return times to the first audio and to the last in milliseconds, and of a long stream in seconds."""
    first_ms, whole_ms = [], []
    for _ in range(n):
        first_s, whole_s = await _times(gateway, FIRST)
        first_ms.append(1000 * first_s)
        whole_ms.append(1000 * whole_s)
        await asyncio.sleep(PAUSE_S)
    return first_ms, whole_ms, [(await _times(gateway, prose(LONG_WORDS)))[1]]


async def _times(gateway: Gateway, text: str) -> tuple[float, float]:
    async with streamed(gateway.port, "/tts", {"text": text, "stream": True}) as stream:
        started_at = time.perf_counter()
        await stream.begin()
        await stream.read()
        first_s = time.perf_counter() - started_at
        await stream.rest()
        return first_s, time.perf_counter() - started_at
