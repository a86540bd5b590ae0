"""Extra time that a request needs when what serves it dies or freezes."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import time

import psutil
import uvloop

from bench.engine import fingerprinted
from bench.http_client import Pool, get, post
from bench.processes import START_S, Process, Processes, processes
from bench.tables import quantile, show

SERVICE_S = 1.0
KINDS = {
    "node killed (-9)": "kill",
    "node frozen (SIGSTOP)": "freeze",
    "engine killed (-9)": "engine",
    "nats-server killed and started again": "nats",
    "nothing": "nothing",
}


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench failover")
    parser.add_argument("-n", type=int, default=10, help="faults of each kind")
    chosen = parser.parse_args(options)
    with processes() as group:
        nodes = {name: group.node("sleeper", node=name) for name in ("left", "right")}
        gateway = group.gateway()
        gateway.wait_for_slots(2)
        rows = uvloop.run(_measure(group, nodes, gateway.port, chosen.n))
    show(
        f"failover: two nodes, {SERVICE_S:g} s of synthesis, the fault 100 to 900 ms after its beginning",
        ["fault", "right", "extra s, p50", "extra s, max"],
        rows,
        "Extra: from the fault to the whole answer, less the synthesis itself. What was done before\n"
        "the fault is lost besides; a negative time says that nothing was. To be reached: 2 s.",
    )


async def _measure(group: Processes, nodes: dict[str, Process], port: int, n: int) -> list[list[object]]:
    rng = random.Random(1)
    pool = Pool(port)
    rows: list[list[object]] = []
    for name, kind in KINDS.items():
        extra_s, right = [], 0
        for number in range(n):
            await _until_idle(pool, 2)
            text = f"ms={1000 * SERVICE_S:.0f} id={kind}-{number}"
            started_at = time.monotonic()
            answer = asyncio.create_task(pool.request(post(text)))
            await asyncio.sleep(rng.uniform(0.1, 0.9) * SERVICE_S)
            node = nodes[await _in_charge(pool)]
            fault_at = started_at if kind == "nothing" else time.monotonic()
            _break(kind, node, group.nats)
            reply = await answer
            extra_s.append(time.monotonic() - fault_at - SERVICE_S)
            right += reply.status == 200 and reply.body == fingerprinted(text)
            node.send(signal.SIGCONT)
            if not node.alive:
                node.restart()
        rows.append([name, f"{right} of {n}", quantile(extra_s, 0.5), max(extra_s)])
    return rows


def _break(kind: str, node: Process, nats: Process) -> None:
    if kind == "kill":
        node.send(signal.SIGKILL)
    elif kind == "freeze":
        node.send(signal.SIGSTOP)
    elif kind == "engine":
        for child in psutil.Process(node.pid).children():
            child.kill()
    elif kind == "nats":
        nats.send(signal.SIGKILL)
        nats.restart()


async def _workers(pool: Pool) -> list[dict[str, object]]:
    reply = await pool.request(get("/check_tts_status"))
    return list(json.loads(reply.body)["workers"]) if reply.status == 200 else []


async def _until_idle(pool: Pool, n: int) -> None:
    async with asyncio.timeout(START_S):
        while sum(worker["idle"] == 1 for worker in await _workers(pool)) != n:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _in_charge(pool: Pool) -> str:
    async with asyncio.timeout(START_S):
        while True:
            for worker in await _workers(pool):
                if worker["busy"]:
                    return str(worker["name"])
