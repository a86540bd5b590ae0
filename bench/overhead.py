"""Time that the way to the engine and back adds, on an idle system."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Awaitable, Callable

import nats
import uvloop

from antiphon.client import connect
from bench.closed_loop import seconds_per_utterance
from bench.http_client import HttpConnection, open_connection, post
from bench.processes import Processes, free_port, processes, wait_for_port
from bench.tables import quantile, show

PAUSE_S = 0.02
"""Between two requests: long enough for the slot to be free again."""
SLEEP_MS = 50
Ask = Callable[[str], Awaitable[object]]


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench overhead")
    parser.add_argument("-n", type=int, default=500, help="requests of each row")
    chosen = parser.parse_args(options)
    rows: list[list[object]] = []
    with processes() as group:
        group.node("passthrough")
        group.node("sleeper")
        gateway = group.gateway()
        gateway.wait_for_slots(2)
        rows += uvloop.run(_antiphon(group, gateway.port, chosen.n))
    pauses = [_pause(n_slots, chosen.n) for n_slots in (1, 8)]
    with processes() as group:
        port = free_port()
        group.python("peer", str(port))
        wait_for_port(port)
        rows.append(uvloop.run(_peer(port, chosen.n)))
    show(
        f"overhead: added to the engine's time, one request after another, {chosen.n} requests each",
        ["", "p50 ms", "p90 ms", "p99 ms"],
        rows,
        "To be reached over HTTP: a p50 of 3 ms.",
    )
    show(
        f"pause of a busy slot between two utterances of {SLEEP_MS} ms, while others wait in the queue",
        ["", "mean ms"],
        pauses,
        "At load 0.9 a pause of 1 % of the service makes the mean latency about 3 % longer.",
    )


def _pause(n_slots: int, n: int) -> list[object]:
    """Keep `n_slots` busy and the queue full: what a slot needs beyond its engine's time is its pause."""
    with processes() as group:
        for _ in range(n_slots):
            group.node("sleeper")
        gateway = group.gateway()
        gateway.wait_for_slots(n_slots)
        cycle_s = uvloop.run(seconds_per_utterance(gateway.port, slots=n_slots, service_ms=SLEEP_MS, n=n))
    return [f"{n_slots} node{'s' * (n_slots > 1)} of one slot", 1000 * cycle_s - SLEEP_MS]


async def _antiphon(group: Processes, port: int, n: int) -> list[list[object]]:
    nc = await nats.connect(group.nats_url)
    connection = await open_connection(port)
    async with connect(group.nats_url) as tts:

        async def over_http(model: str, text: str) -> None:
            reply = await connection.send(post(text, model=model))
            if reply.status != 200:
                raise RuntimeError(f"status {reply.status}: {reply.body[:500]!r}")

        async def over_client(text: str) -> None:
            await tts.speak(text, model="passthrough")

        async def over_nats(text: str) -> None:
            reply = await nc.request("tts.synth.passthrough", text.encode(), timeout=5)
            if not reply.data:
                raise RuntimeError(f"no audio: {reply.headers}")

        sleep = f"ms={SLEEP_MS} "
        rows = [
            await _row(
                "HTTP, 20 KB from an engine that takes no time", n, lambda t: over_http("passthrough", t)
            ),
            await _row(
                f"HTTP, engine that sleeps {SLEEP_MS} ms",
                n,
                lambda t: over_http("sleeper", sleep + t),
                engine_s=SLEEP_MS / 1000,
            ),
            await _row("Python client over NATS, 20 KB, no time", n, over_client),
            await _row("plain NATS request, 20 KB, no time", n, over_nats),
        ]
    connection.close()
    await nc.close()
    return rows


async def _peer(port: int, n: int) -> list[object]:
    connection: HttpConnection = await open_connection(port)

    async def ask(text: str) -> None:
        await connection.send(post(text))

    return await _row("aiohttp alone over HTTP, 20 KB, no node", n, ask)


async def _row(name: str, n: int, ask: Ask, *, engine_s: float = 0.0) -> list[object]:
    added_ms = []
    for number in range(n + 20):
        started_at = time.perf_counter()
        await ask(f"request {number}")
        added_ms.append(1000 * (time.perf_counter() - started_at - engine_s))
        await asyncio.sleep(PAUSE_S)
    measured = added_ms[20:]
    return [name, *(quantile(measured, q) for q in (0.5, 0.9, 0.99))]
