"""Requests per second with an engine that takes no time: 20 KB answers, the load generator included."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Final

import psutil
import uvloop

from bench.http_client import HttpConnection, open_connection, post
from bench.processes import Processes, free_port, processes, wait_for_port
from bench.tables import quantile, show

PROCESSES: Final = ("load", "gateway", "nats-server", "synth_node", "engines", "peer")


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench throughput")
    parser.add_argument("--seconds", type=float, default=10.0, help="of measurement, after 2 s of warm-up")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--slots", type=int, default=2, help="on one node")
    parser.add_argument("--profile", type=Path, help="directory for cProfile statistics of node and gateway")
    parser.add_argument("--no-peer", action="store_true")
    chosen = parser.parse_args(options)
    rows = []
    with processes(profile=chosen.profile) as group:
        group.node("passthrough", slots=chosen.slots)
        gateway = group.gateway()
        gateway.wait_for_slots(chosen.slots)
        rows.append(["antiphon", *_measure(group, gateway.port, chosen)])
    if not chosen.no_peer:
        with processes() as group:
            port = free_port()
            group.python("peer", str(port))
            wait_for_port(port)
            rows.append(["aiohttp alone, no node", *_measure(group, port, chosen)])
    show(
        f"throughput: {chosen.slots} slots, {chosen.connections} connections, 20 KB answers, "
        f"{psutil.cpu_count()} cores",
        ["", "requests/s", "errors", "p50 ms", "p99 ms", "CPU ms", *PROCESSES],
        rows,
        "To be reached: 1200 requests/s. CPU ms: per request, in all and in each kind of process.",
    )


def _measure(group: Processes, port: int, chosen: argparse.Namespace) -> list[object]:
    uvloop.run(_load(port, chosen.connections, 2.0))
    cpu_before = _cpu(group)
    latencies, errors, seconds = uvloop.run(_load(port, chosen.connections, chosen.seconds))
    cpu = {name: used - cpu_before.get(name, 0.0) for name, used in _cpu(group).items()}
    cpu_ms = [1000 * cpu.get(name, 0.0) / len(latencies) for name in PROCESSES]
    rate = len(latencies) / seconds
    return [
        rate,
        errors,
        1000 * quantile(latencies, 0.5),
        1000 * quantile(latencies, 0.99),
        sum(cpu_ms),
        *cpu_ms,
    ]


async def _load(port: int, n_connections: int, seconds: float) -> tuple[list[float], int, float]:
    """Return the latencies in seconds, the number of replies that are not 200, and the time it took."""
    request = post("The quick brown fox jumps over the lazy dog.")
    latencies: list[float] = []
    errors = 0
    started_at = time.perf_counter()
    ends_at = started_at + seconds

    async def ask(connection: HttpConnection) -> None:
        nonlocal errors
        while (sent_at := time.perf_counter()) < ends_at:
            reply = await connection.send(request)
            latencies.append(time.perf_counter() - sent_at)
            errors += reply.status != 200

    connections = [await open_connection(port) for _ in range(n_connections)]
    async with asyncio.TaskGroup() as tasks:
        for connection in connections:
            tasks.create_task(ask(connection))
    for connection in connections:
        connection.close()
    return latencies, errors, time.perf_counter() - started_at


def _cpu(group: Processes) -> dict[str, float]:
    """Return the CPU seconds used so far, by kind of process."""
    used = {"load": sum(psutil.Process().cpu_times()[:2])}
    for process in group.all:
        each = psutil.Process(process.pid)
        name = process.log.stem.partition("-")[2]
        used[name] = used.get(name, 0.0) + sum(each.cpu_times()[:2])
        for child in each.children():
            used["engines"] = used.get("engines", 0.0) + sum(child.cpu_times()[:2])
    return used
