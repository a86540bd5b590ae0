"""Time from a client that leaves to a slot that is free again."""

from __future__ import annotations

import argparse
import asyncio
import random
import time

import nats
import uvloop
from nats.aio.msg import Msg

from bench.http_client import open_connection, post
from bench.processes import Gateway, processes
from bench.tables import quantile, show

TEXT = "The quick brown fox jumps over the lazy dog, and nobody waits for the end of it. " * 2000


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench cancel")
    parser.add_argument("-n", type=int, default=40, help="cancels of each engine")
    chosen = parser.parse_args(options)
    rows = []
    for engine in ("espeak", "tone"):
        with processes() as group:
            group.node(engine)
            gateway = group.gateway()
            gateway.wait_for_slots(1)
            times_ms = uvloop.run(_measure(gateway, group.nats_url, engine, chosen.n))
        rows.append([engine, *(quantile(times_ms, q) for q in (0.5, 0.9, 1.0)), len(times_ms)])
    show(
        f"cancel: HTTP client disconnects while {len(TEXT)} characters are spoken, until the slot is free",
        ["engine", "p50 ms", "p90 ms", "max ms", "cancels"],
        rows,
        "To be reached: 300 ms.",
    )


async def _measure(gateway: Gateway, nats_url: str, engine: str, n: int) -> list[float]:
    nc = await nats.connect(nats_url)
    free: asyncio.Queue[float] = asyncio.Queue()

    async def on_free(_: Msg) -> None:
        free.put_nowait(time.perf_counter())

    await nc.subscribe(f"tts.free.{engine}", cb=on_free)  # no queue group: it only listens
    await nc.flush()
    rng = random.Random(1)
    times_ms = []
    for _ in range(n):
        connection = await open_connection(gateway.port)
        reply = connection.send(post(TEXT))
        await asyncio.sleep(rng.uniform(0.05, 0.4))
        if reply.done():
            raise RuntimeError("the answer came before the cancel: the text is too short")
        while not free.empty():
            free.get_nowait()
        left_at = time.perf_counter()
        connection.close()
        await asyncio.gather(reply, return_exceptions=True)
        async with asyncio.timeout(30):
            times_ms.append(1000 * (await free.get() - left_at))
    await nc.close()
    return times_ms
