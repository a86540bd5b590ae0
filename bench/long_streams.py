"""Memory of a gateway and a node over many long streams: does it stay where it is?"""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections import Counter
from statistics import linear_regression
from typing import Final

import psutil
import uvloop

from bench.http_stream import Stream, streamed
from bench.processes import Gateway, Process, processes
from bench.tables import show
from bench.texts import prose

MIB: Final = 1024 * 1024
MARKS: Final = (0, 50, 100, 200, 300, 500, 1000, 2000, 5000)
SLOW_BYTES: Final = 40_000
"""What a slow client reads of a stream, over SLOW_S, before it takes the rest at once."""
SLOW_S: Final = 2.0
FORMATS: Final = ("mp3", "wav", "wav", "pcm")


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench long_streams")
    parser.add_argument("-n", type=int, default=1000, help="streams")
    parser.add_argument("--words", type=int, default=400, help="of each: about two minutes of audio")
    parser.add_argument("--clients", type=int, default=8, help="that listen at the same time")
    parser.add_argument("--slots", type=int, default=4, help="on one node")
    parser.add_argument("--seconds", type=float, default=200.0, help="after which no more begin")
    chosen = parser.parse_args(options)
    with processes() as group:
        node = group.node("tone", slots=chosen.slots)
        gateway = group.gateway()
        gateway.wait_for_slots(chosen.slots)
        watch = _Watch(gateway.process, node)
        seconds = uvloop.run(_listen(gateway, prose(chosen.words), chosen, watch))
    show(
        f"long_streams: {watch.n} streams of {chosen.words} words ({', '.join(sorted(set(FORMATS)))}), "
        f"{chosen.clients} at a time on {chosen.slots} slots; {seconds:.0f} s, {_outcomes(watch.outcomes)}",
        ["streams", "gateway MiB", "node MiB"],
        watch.rows,
        f"Slope from the {watch.half}th on: {_slopes(watch)} KiB for each stream. Ideal: 0.",
    )


class _Watch:
    """Resident sets as the streams go by."""

    def __init__(self, *observed: Process) -> None:
        self.n = self.half = 0
        self.outcomes: Counter[str] = Counter()
        self.rows: list[list[object]] = []
        self.samples: list[tuple[int, list[float]]] = []
        self._observed = [psutil.Process(process.pid) for process in observed]
        self._look(mark=True)

    def ended(self, outcome: str) -> None:
        """Count a stream."""
        self.n += 1
        self.outcomes[outcome] += 1
        if self.n % 10 == 0:
            self._look(mark=self.n in MARKS)

    def last(self) -> None:
        """Look once more."""
        self.half = self.n // 2
        if self.rows[-1][0] != self.n:
            self._look(mark=True)

    def _look(self, *, mark: bool) -> None:
        mib = [process.memory_info().rss / MIB for process in self._observed]
        self.samples.append((self.n, mib))
        if mark:
            self.rows.append([self.n, *mib])


async def _listen(gateway: Gateway, text: str, chosen: argparse.Namespace, watch: _Watch) -> float:
    rng = random.Random(1)
    started_at = time.monotonic()
    left = iter(range(chosen.n))

    async def client() -> None:
        for _ in left:
            if time.monotonic() - started_at > chosen.seconds:
                return
            kind = rng.choices(("heard to the end", "slow", "left early"), (6, 1, 1))[0]
            body = {"text": text, "stream": True, "format": rng.choice(FORMATS)}
            async with streamed(gateway.port, "/tts", body) as stream:
                await stream.begin()
                if kind == "left early":
                    for _ in range(rng.randrange(20)):
                        await stream.read()
                elif kind == "slow":
                    await _slowly(stream)
                    await stream.rest()
                else:
                    await stream.rest()
            watch.ended(kind)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(chosen.clients):
            tasks.create_task(client())
    watch.last()
    return time.monotonic() - started_at


async def _slowly(stream: Stream) -> None:
    """Read the beginning bit by bit, while the rest waits in the gateway and in the node."""
    n_steps = 20
    for _ in range(n_steps):
        await stream.read(SLOW_BYTES // n_steps)
        await asyncio.sleep(SLOW_S / n_steps)


def _outcomes(outcomes: Counter[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in outcomes.most_common())


def _slopes(watch: _Watch) -> str:
    """Return the slope of each resident set over the second half, by least squares."""
    samples = [(n, mib) for n, mib in watch.samples if n >= watch.half]
    numbers = [n for n, _ in samples]
    slopes = []
    for i, name in enumerate(("gateway", "node")):
        sizes = [1024 * mib[i] for _, mib in samples]
        slopes.append(f"{name} {linear_regression(numbers, sizes).slope:+.2f}")
    return ", ".join(slopes)
