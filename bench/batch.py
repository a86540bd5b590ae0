"""What batches gain: one engine process that speaks several utterances at once, against one by one.

The engine sleeps: k utterances take 1 + 0.1 (k - 1) times as long as one.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import uvloop

from bench.engine import fingerprinted
from bench.http_client import Pool, post
from bench.open_loop import Plan, drive, ideal_latencies, poisson_plan
from bench.processes import processes
from bench.tables import mean, quantile, show

PAUSE_S: Final = 0.05
"""Between two requests that meet an idle system."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One engine process and its slots. wait_ms: for a batch."""

    slots: int
    wait_ms: int

    @property
    def name(self) -> str:
        """For the tables."""
        return f"{self.slots} slots, wait {self.wait_ms} ms" if self.slots > 1 else "1 slot, one by one"


class Group:
    """A node of one engine process behind a gateway."""

    def __init__(self, port: int, stamps: Path) -> None:
        self.pool = Pool(port)
        self._stamps = stamps

    async def ask(self, number: int, service_ms: int) -> float:
        """Ask for one utterance; return the latency in seconds. Raises RuntimeError for a wrong answer."""
        text = f"ms={service_ms} id={number}"
        sent_at = time.perf_counter()
        reply = await self.pool.request(post(text))
        if reply.status != 200 or reply.body != fingerprinted(text):
            raise RuntimeError(f"status {reply.status}, or the audio of another text")
        return time.perf_counter() - sent_at

    def batches(self) -> list[tuple[int, float, float]]:
        """Return size, begin and end of each batch since the last call."""
        lines = [line.split() for line in self._stamps.read_text().splitlines()]
        self._stamps.write_text("")
        return [(int(size), float(began), float(ended)) for size, began, ended in lines]


@contextmanager
def group_of(setting: Setting) -> Iterator[Group]:
    """Start the processes of a setting."""
    with processes() as group:
        stamps = group.directory / "stamps"
        stamps.touch()
        group.node(
            "Batcher",
            slots=setting.slots,
            processes=1,
            batch_wait_ms=setting.wait_ms,
            slot_env=f"BENCH_STAMPS={stamps}",
        )
        gateway = group.gateway()
        gateway.wait_for_slots(setting.slots)
        yield Group(gateway.port, stamps)


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench batch")
    parser.add_argument("--ms", type=int, default=300, help="what one utterance takes, in milliseconds")
    parser.add_argument("--slots", type=int, default=8, help="in one process")
    parser.add_argument("--wait", type=int, nargs="*", default=[0, 10, 50], help="for a batch, in ms")
    parser.add_argument("--rounds", type=int, default=40, help="batches' worth of requests when all is busy")
    parser.add_argument("-n", type=int, default=60, help="requests to an idle system")
    parser.add_argument("--arrivals", type=int, default=150, help="requests of each Poisson run")
    parser.add_argument("--load", type=float, nargs="*", default=[0.3, 2.0, 3.5])
    chosen = parser.parse_args(options)
    alone = Setting(1, 0)
    settings = [alone, *(Setting(chosen.slots, wait_ms) for wait_ms in chosen.wait)]
    busy, idle, poisson = [], [], []
    for setting in settings:
        with group_of(setting) as group:
            busy.append([setting.name, *uvloop.run(_busy(group, setting, chosen))])
        with group_of(setting) as group:
            idle.append([setting.name, *uvloop.run(_idle(group, chosen))])
    _compare(busy, chosen)
    show(
        f"batch: added to the {chosen.ms} ms of a lone utterance, {chosen.n} requests one after another",
        ["", "p50 ms", "p90 ms", "p99 ms", "mean batch"],
        idle,
        "Nobody comes whom to wait for. Bound: what one by one adds, and the wait.",
    )
    for load in chosen.load:
        plan = poisson_plan(
            chosen.arrivals, slots=1, load=load, service_s=(chosen.ms / 1000, chosen.ms / 1000)
        )
        ideal = ideal_latencies(plan, slots=1)
        poisson.append([load, "one by one, ideal", mean(ideal), quantile(ideal, 0.99), 1.0])
        for setting in (alone, Setting(chosen.slots, 10)):
            if setting is alone and load >= 1:
                continue
            with group_of(setting) as group:
                poisson.append([load, setting.name, *uvloop.run(_poisson(group, plan, chosen))])
    show(
        f"batch: {chosen.arrivals} Poisson arrivals; load 1 is what one by one can just do",
        ["load", "", "mean s", "p99 s", "mean batch"],
        poisson,
    )


def _compare(rows: list[list[object]], chosen: argparse.Namespace) -> None:
    one_s = chosen.ms / 1000
    table = []
    for name, rate, size, gap_ms, latency in rows:
        slots = 1 if name == rows[0][0] else chosen.slots
        ideal = slots / (one_s * (1 + 0.1 * (slots - 1)))
        base = rows[0][1]
        assert isinstance(rate, float)
        assert isinstance(base, float)
        table.append([name, rate, rate / base, ideal, rate / ideal, size, gap_ms, latency])
    show(
        f"batch: one process, {chosen.ms} (1 + 0.1 (k - 1)) ms for k utterances at once, all slots busy",
        ["", "/s", "÷ one by one", "ideal /s", "of ideal", "mean batch", "gap ms", "p50 s"],
        table,
        "Ideal: full batches without a gap between them. Gap: between two batches, the median.",
    )


async def _all(ask: Callable[[int], Awaitable[None]], n: int, at_once: int) -> float:
    """Ask `n` times, so many at once; return what it took, in seconds."""
    numbers = iter(range(n))

    async def some() -> None:
        for number in numbers:
            await ask(number)

    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(some())
    return time.perf_counter() - started_at


async def _busy(group: Group, setting: Setting, chosen: argparse.Namespace) -> list[object]:
    latencies = []

    async def ask(number: int) -> None:
        latencies.append(await group.ask(number, chosen.ms))

    n = chosen.rounds * setting.slots
    seconds = await _all(ask, n, 3 * setting.slots)
    batches = group.batches()
    gaps = [after[1] - before[2] for before, after in pairwise(batches)]
    return [
        n / seconds,
        n / len(batches),
        1000 * quantile(gaps, 0.5),
        quantile(latencies, 0.5),
    ]


async def _idle(group: Group, chosen: argparse.Namespace) -> list[object]:
    added = []
    for number in range(chosen.n):
        added.append(1000 * await group.ask(number, chosen.ms) - chosen.ms)
        await asyncio.sleep(PAUSE_S)
    sizes = [size for size, _, _ in group.batches()]
    return [*(quantile(added, q) for q in (0.5, 0.9, 0.99)), mean(sizes)]


async def _poisson(group: Group, plan: Plan, chosen: argparse.Namespace) -> list[object]:
    async def ask(number: int) -> None:
        await group.ask(number, chosen.ms)

    latencies = await drive(plan.arrivals, ask)
    sizes = [size for size, _, _ in group.batches()]
    return [mean(latencies), quantile(latencies, 0.99), mean(sizes)]
