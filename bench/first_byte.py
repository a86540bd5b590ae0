"""From the engine's first samples to the first audio at an HTTP client."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from typing import Final

import uvloop

from bench.http_stream import streamed
from bench.processes import Gateway, free_port, processes, wait_for_port
from bench.tables import quantile, show

FORMATS: Final = ("mp3", "pcm", "wav", "opus", "aac", "flac")
HEADS: Final = {"wav": 44, "flac": 42}
"""Bytes that hold no sound. An mp3's Info frame never comes alone, and Opus has two pages."""
WARM_UP = 5


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench first_byte")
    parser.add_argument("-n", type=int, default=100, help="requests of each format")
    chosen = parser.parse_args(options)
    with processes() as group:
        stamps = group.directory / "stamps"
        os.environ["BENCH_STAMPS"] = str(stamps)
        group.node("Stamped")
        gateway = group.gateway()
        gateway.wait_for_slots(1)
        rows = uvloop.run(_formats(gateway, stamps, chosen.n))
        port = free_port()
        group.python("peer", str(port))
        wait_for_port(port)
        rows.append(uvloop.run(_peer(port, chosen.n)))
    show(
        f"first_byte: from the engine's first 200 ms of samples to sound at the HTTP client, {chosen.n} each",
        ["format", "p50 ms", "p90 ms", "p99 ms", "bytes with it"],
        rows,
        "To be reached: a p50 of 5 ms. The engine's second piece comes 100 ms later: nothing waits for it.",
    )


async def _formats(gateway: Gateway, stamps: Path, n: int) -> list[list[object]]:
    """Ask for each format in turn, so that all see the same disturbance."""
    added_ms: dict[str, list[float]] = {format: [] for format in FORMATS}
    n_bytes: dict[str, list[float]] = {format: [] for format in FORMATS}
    for number in range(n + WARM_UP):
        for format in FORMATS:
            body: dict[str, object] = {"text": "One sentence.", "stream": True, "format": format}
            async with streamed(gateway.port, "/tts", body) as stream:
                await stream.begin()
                sound = b""
                while not _is_sound(format, sound):
                    sound += await stream.read()
                heard_at = time.monotonic()
                await stream.rest()
            if number >= WARM_UP:
                added_ms[format].append(1000 * (heard_at - _last_stamp(stamps)))
                n_bytes[format].append(len(sound))
            await asyncio.sleep(0.02)
    return [_row(format, added_ms[format], n_bytes[format]) for format in FORMATS]


def _last_stamp(stamps: Path) -> float:
    return float(stamps.read_text().splitlines()[-1])


def _is_sound(format: str, data: bytes) -> bool:
    if format == "opus":
        return data.count(b"OggS") > 2
    return len(data) > HEADS.get(format, 0)


async def _peer(port: int, n: int) -> list[object]:
    """Have an aiohttp server write when it writes."""
    added_ms = []
    for _ in range(n):
        async with streamed(port, "/stamp", {}) as stream:
            await stream.begin()
            left_at = float(await stream.read())
            added_ms.append(1000 * (time.monotonic() - left_at))
        await asyncio.sleep(0.02)
    return _row("aiohttp alone, no node", added_ms, [float("nan")])


def _row(name: str, added_ms: list[float], n_bytes: list[float]) -> list[object]:
    return [name, *(quantile(added_ms, q) for q in (0.5, 0.9, 0.99)), quantile(n_bytes, 0.5)]
