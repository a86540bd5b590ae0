"""Load that comes when it comes: arrivals do not wait for answers, latency counts from the intended time."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Requests to be sent. arrivals: times in seconds from the start. services: time each one takes, in s."""

    arrivals: tuple[float, ...]
    services: tuple[float, ...]


def poisson_plan(n: int, *, slots: int, load: float, service_s: tuple[float, float], seed: int = 1) -> Plan:
    """Return `n` Poisson arrivals that keep `slots` busy to `load`; services are uniform in `service_s`."""
    rng = random.Random(seed)
    rate = slots * load / (sum(service_s) / 2)
    arrivals, at = [], 0.0
    for _ in range(n):
        at += rng.expovariate(rate)
        arrivals.append(at)
    # Whole milliseconds: that is how the requests' texts carry them.
    services = [round(rng.uniform(*service_s), 3) for _ in range(n)]
    return Plan(tuple(arrivals), tuple(services))


def ideal_latencies(plan: Plan, *, slots: int) -> list[float]:
    """Return the latencies of one central FIFO before all slots that costs nothing, in seconds."""
    free_at = [0.0] * slots
    latencies = []
    for arrival, service in zip(plan.arrivals, plan.services, strict=True):
        done = max(arrival, free_at[0]) + service
        heapq.heapreplace(free_at, done)
        latencies.append(done - arrival)
    return latencies


async def drive(arrivals: Sequence[float], ask: Callable[[int], Awaitable[None]]) -> list[float]:
    """Call `ask` with each request's number when it is due; return the latencies in seconds.

    An exception of `ask` ends everything.
    """
    loop = asyncio.get_running_loop()
    latencies = [0.0] * len(arrivals)
    started_at = loop.time()

    async def one(number: int, due: float) -> None:
        await ask(number)
        latencies[number] = loop.time() - due

    async with asyncio.TaskGroup() as tasks:
        for number, arrival in enumerate(arrivals):
            due = started_at + arrival
            if (pause_s := due - loop.time()) > 0:
                await asyncio.sleep(pause_s)
            tasks.create_task(one(number, due))
    return latencies
