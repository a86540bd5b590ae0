"""How well requests meet free slots: latency over that of an ideal central queue with the same requests."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from pathlib import Path

import nats
import nats.errors
import uvloop
from nats.aio.client import Client

from bench import queue_group
from bench.http_client import Pool, post
from bench.open_loop import Plan, drive, ideal_latencies, poisson_plan
from bench.processes import START_S, Processes, processes
from bench.tables import mean, quantile, show


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench dispatch")
    parser.add_argument("-n", type=int, default=3000, help="requests of each run")
    parser.add_argument("--nodes", type=int, default=8, help="of one slot each")
    parser.add_argument("--load", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gateways", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument(
        "--profile", type=Path, help="directory for cProfile statistics of nodes and gateways"
    )
    chosen = parser.parse_args(options)
    service_s = (0.15, 0.45)
    plan = poisson_plan(chosen.n, slots=chosen.nodes, load=chosen.load, service_s=service_s, seed=chosen.seed)
    ideal = ideal_latencies(plan, slots=chosen.nodes)
    rows = [_row("ideal central queue", ideal, ideal, {})]
    for n_gateways in chosen.gateways:
        with processes(profile=chosen.profile) as group:
            latencies, failures = _antiphon(group, plan, chosen.nodes, n_gateways)
        rows.append(
            _row(f"antiphon, {n_gateways} gateway{'s' * (n_gateways > 1)}", latencies, ideal, failures)
        )
    if not chosen.no_peer:
        with processes() as group:
            latencies = _plain_queue_group(group, plan, chosen.nodes)
        rows.append(_row("plain NATS queue group, no HTTP", latencies, ideal, {}))
    show(
        f"dispatch: {chosen.nodes} slots, Poisson arrivals, load {chosen.load}, service 150-450 ms, "
        f"{chosen.n} requests",
        ["", "mean s", "p99 s", "mean ÷ ideal", "p99 ÷ ideal", "failed"],
        rows,
        "To be reached, mean and p99: 1.03 and 1.06 with one gateway, 1.04 and 1.22 with two.",
    )


def _row(name: str, latencies: list[float], ideal: list[float], failures: dict[int, int]) -> list[object]:
    means = mean(latencies), mean(ideal)
    p99s = quantile(latencies, 0.99), quantile(ideal, 0.99)
    failed = ", ".join(f"{n} x {status}" for status, n in failures.items()) or 0
    return [name, means[0], p99s[0], means[0] / means[1], p99s[0] / p99s[1], failed]


def _antiphon(
    group: Processes, plan: Plan, n_nodes: int, n_gateways: int
) -> tuple[list[float], dict[int, int]]:
    for number in range(n_nodes):
        group.node("sleeper", slots=1, node=f"node{number}")
    gateways = [group.gateway() for _ in range(n_gateways)]
    for gateway in gateways:
        gateway.wait_for_slots(n_nodes)
    failures: Counter[int] = Counter()

    async def run() -> list[float]:
        pools = [Pool(gateway.port) for gateway in gateways]

        async def ask(number: int) -> None:
            text = f"ms={round(1000 * plan.services[number])} id={number}"
            reply = await pools[number % n_gateways].request(post(text))
            if reply.status != 200:
                failures[reply.status] += 1

        await asyncio.gather(*(pool.request(post("ms=20 id=warm-up")) for pool in pools * n_nodes))
        return await drive(plan.arrivals, ask)

    return uvloop.run(run()), failures


def _plain_queue_group(group: Processes, plan: Plan, n_workers: int) -> list[float]:
    group.python("queue_group", group.nats_url, str(n_workers))

    async def run() -> list[float]:
        nc = await nats.connect(group.nats_url)
        await _answers(nc)

        async def ask(number: int) -> None:
            text = f"ms={round(1000 * plan.services[number])} id={number}"
            await nc.request(queue_group.SUBJECT, text.encode(), timeout=120)

        try:
            return await drive(plan.arrivals, ask)
        finally:
            await nc.close()

    return uvloop.run(run())


async def _answers(nc: Client) -> None:
    """Wait until the workers are there."""
    async with asyncio.timeout(START_S):
        while True:
            try:
                await nc.request(f"{queue_group.SUBJECT}.ready", b"", timeout=1)
                return
            except nats.errors.NoRespondersError:
                await asyncio.sleep(0.05)
