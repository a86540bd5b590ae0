"""Requests while nodes, engines and NATS are killed, frozen and restarted: is one lost, or another's?"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path

import uvloop

from bench.closed_loop import seconds_per_utterance
from bench.engine import fingerprinted
from bench.faults import Faults
from bench.http_client import Pool, Reply, get, post
from bench.processes import Gateway, processes
from bench.tables import quantile, show

SERVICE_MS = 20
ANSWER_WITHIN_S = 150.0
"""Far above what a gateway lets a request wait: what has no answer by then will have none."""


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench chaos")
    parser.add_argument("-n", type=int, default=20_000, help="requests")
    parser.add_argument("--nodes", type=int, default=4, help="of one slot each")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--load", type=float, default=0.8, help="of what the living slots can do")
    parser.add_argument("--every", type=float, default=2.5, help="mean seconds between faults of nodes")
    parser.add_argument("--nats-every", type=float, default=12.0, help="mean seconds between its restarts")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="directory where the logs of all processes are kept")
    chosen = parser.parse_args(options)
    with processes(directory=chosen.logs) as group:
        nodes = [group.node("sleeper", node=f"node{i}", grace_s=2) for i in range(chosen.nodes)]
        gateways = [group.gateway() for _ in range(chosen.gateways)]
        gateways[0].wait_for_slots(chosen.nodes)
        faults = Faults(
            group.nats, nodes, every_s=chosen.every, nats_every_s=chosen.nats_every, seed=chosen.seed
        )
        cycle_s = uvloop.run(
            seconds_per_utterance(gateways[0].port, slots=chosen.nodes, service_ms=SERVICE_MS, n=500)
        )
        chaos = Chaos(gateways, rate=chosen.load / cycle_s, seed=chosen.seed)
        uvloop.run(chaos.run(chosen.n, faults))
    _show(chaos, faults, chosen.n, chosen.load)


def _show(chaos: Chaos, faults: Faults, n: int, load: float) -> None:
    outcomes = dict(chaos.outcomes)
    fixed = {name: outcomes.pop(name, 0) for name in ("right", "lost", "wrong ear", "503")}
    codes = ", ".join(f"{count} x {code}" for code, count in outcomes.items())
    latencies = [1000 * quantile(chaos.latencies, q) for q in (0.5, 0.99, 1.0)]
    show(
        f"chaos: {n} requests of {SERVICE_MS} ms at {n / chaos.seconds:.0f}/s, "
        + ", ".join(f"{count} {what}" for what, count in faults.counts.items()),
        ["requests", *fixed, "other errors", "p50 ms", "p99 ms", "max ms"],
        [[n, *fixed.values(), codes or 0, *latencies]],
        f"Load {load} of what the living slots were measured to do. To be reached: 0 lost, 0 wrong ear.",
    )
    for line in (*(f"{count} x {what}" for what, count in chaos.refusals.items()), *chaos.remarks[:20]):
        print(line)


class Chaos:
    """The callers. outcomes: counts of right, lost, wrong ear, 503 and other error codes.

    rate: requests per second for each slot that is alive.
    """

    def __init__(self, gateways: list[Gateway], *, rate: float, seed: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self.latencies: list[float] = []
        self.refusals: Counter[str] = Counter()
        self.remarks: list[str] = []
        self.seconds = 0.0
        self._gateways = gateways
        self._pools = [Pool(gateway.port) for gateway in gateways]
        self._rate = rate
        self._rng = random.Random(seed)
        self._alive = 0
        self._started_at = time.monotonic()

    async def run(self, n: int, faults: Faults) -> None:
        """Send `n` requests while `faults` are done, and wait for every answer."""
        self._started_at = time.monotonic()
        async with asyncio.TaskGroup() as helpers:
            background = [helpers.create_task(faults.run()), helpers.create_task(self._watch())]
            async with asyncio.TaskGroup() as tasks:
                due = time.monotonic()
                for number in range(n):
                    while not self._alive:
                        await asyncio.sleep(0.01)
                        due = time.monotonic()
                    due += self._rng.expovariate(self._rate * self._alive)
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    tasks.create_task(self._ask(number))
                self.seconds = time.monotonic() - self._started_at
            for task in background:
                task.cancel()

    async def _watch(self) -> None:
        """Keep up with how many slots are alive, as the group itself sees it."""
        pool = Pool(self._gateways[0].port)
        while True:
            reply = await pool.request(get("/check_tts_status"))
            if reply.status == 200:
                workers = json.loads(reply.body)["workers"]
                self._alive = sum(
                    worker["idle"] + worker["busy"] for worker in workers if worker["state"] == "ready"
                )
            await asyncio.sleep(0.1)

    async def _ask(self, number: int) -> None:
        text = f"ms={SERVICE_MS} id={number}"
        started_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reply = await self._pools[number % len(self._pools)].request(post(text))
        except (OSError, TimeoutError, ValueError) as exc:
            outcome = "lost"
            remark = f"{type(exc).__name__}: {exc}"
        else:
            outcome, remark = _judge(text, reply)
        self.outcomes[outcome] += 1
        elapsed_s = time.monotonic() - started_at
        if outcome == "right":
            self.latencies.append(elapsed_s)
        elif outcome == "503":
            self.refusals[remark.partition(":")[0]] += 1
        else:
            at_s = started_at - self._started_at
            self.remarks.append(f"request {number} at {at_s:.1f} s, after {elapsed_s:.1f} s: {remark}")


def _judge(text: str, reply: Reply) -> tuple[str, str]:
    """Return the outcome of a whole HTTP reply, and a remark unless it is right."""
    if reply.status == 200:
        if reply.body == fingerprinted(text):
            return "right", ""
        is_whole = len(reply.body) == len(fingerprinted(text)) and reply.body[:3] == b"ID3"
        return ("wrong ear" if is_whole else "lost"), f"{len(reply.body)} bytes that are not its own"
    error = json.loads(reply.body)["error"]
    return "503" if reply.status == 503 else error[
        "code"
    ], f"{reply.status} {error['code']}: {error['message']}"
