"""An engine that crashes at random, under load: is a request lost, and how much less is spoken?"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final

import uvloop

from bench.engine import fingerprinted
from bench.http_client import HttpConnection, open_connection, post
from bench.processes import Gateway, processes
from bench.tables import quantile, show

SERVICE_MS: Final = (150, 450)
MODELS: Final = ("healthy", "crashing")


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench crashes")
    parser.add_argument("-n", type=int, default=400, help="requests of each engine in each round")
    parser.add_argument("--rounds", type=int, default=3, help="of the one engine and then the other")
    parser.add_argument("--slots", type=int, default=8, help="of each engine, two on a node")
    parser.add_argument("--share", type=float, default=0.05, help="of the calls that crash")
    parser.add_argument(
        "--start", type=float, nargs="*", default=[0.0, 1.0], help="seconds that an engine takes to load"
    )
    chosen = parser.parse_args(options)
    rows = [_row(start_s, chosen) for start_s in chosen.start]
    show(
        f"crashes: {chosen.slots} slots, all busy, service {SERVICE_MS[0]}-{SERVICE_MS[1]} ms, "
        f"{chosen.share:.0%} of the calls die of SIGSEGV, {chosen.rounds} rounds of {chosen.n}",
        [
            *("load s", "healthy /s", "crashing /s", "ratio", "least", "most", "ideal"),
            *("crashes", "right", "no attempt left", "lost"),
        ],
        rows,
        "To be reached: a ratio of 0.8, none lost. Load: of the model, on top of Python's own start. Ideal: "
        "a crash costs what was spoken until then, and the load. Least and most: of the rounds.",
    )


def _row(start_s: float, chosen: argparse.Namespace) -> list[object]:
    rates: dict[str, list[float]] = {model: [] for model in MODELS}
    outcomes: Counter[str] = Counter()
    with processes() as group:
        nodes = [
            group.node(
                "Crasher",
                model=model,
                slots=2,
                slot_env=f"BENCH_START_S={start_s} BENCH_CRASH={chosen.share if model == 'crashing' else 0}",
            )
            for model in MODELS
            for _ in range(chosen.slots // 2)
        ]
        gateway = group.gateway()
        gateway.wait_for_slots(len(MODELS) * chosen.slots)
        for number in range(chosen.rounds):
            for model in MODELS:
                load = Load(gateway, model, seed=number)
                seconds = uvloop.run(load.run(chosen.n, 3 * chosen.slots))
                rates[model].append(load.outcomes["right"] / seconds)
                outcomes += load.outcomes
        n_crashes = sum(node.log.read_text().count("SIGSEGV") for node in nodes)
    ratios = [crashing / healthy for healthy, crashing in zip(*rates.values(), strict=True)]
    service_s = sum(SERVICE_MS) / 2 / 1000
    crashes_per_answer = chosen.share / (1 - chosen.share)
    ideal = service_s / (service_s + crashes_per_answer * (service_s / 2 + start_s))
    figures = [quantile(each, 0.5) for each in (*rates.values(), ratios)]
    return [
        *(start_s, *figures, min(ratios), max(ratios), ideal),
        *(n_crashes, outcomes["right"], outcomes["no attempt left"], outcomes["lost"]),
    ]


class Load:
    """Keeps all slots of a model busy. outcomes: counts of right, no attempt left and lost."""

    def __init__(self, gateway: Gateway, model: str, *, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port = gateway.port
        self._model = model
        self._rng = random.Random(seed)

    async def run(self, n: int, n_connections: int) -> float:
        """Have `n` texts spoken; return the seconds."""
        texts = iter([f"ms={self._rng.randint(*SERVICE_MS)} id={self._model}-{i}" for i in range(n)])
        started_at = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(n_connections):
                connection = await open_connection(self._port)
                tasks.create_task(self._ask(connection, texts))
        return time.perf_counter() - started_at

    async def _ask(self, connection: HttpConnection, texts: Iterator[str]) -> None:
        for text in texts:
            reply = await connection.send(post(text, model=self._model))
            if reply.status == 200 and reply.body == fingerprinted(text):
                self.outcomes["right"] += 1
            elif reply.status != 200 and json.loads(reply.body)["error"]["code"] == "attempts_exhausted":
                self.outcomes["no attempt left"] += 1
            else:
                self.outcomes["lost"] += 1
                print(f"{text}: {reply.status} {reply.body[:500]!r}")
        connection.close()
