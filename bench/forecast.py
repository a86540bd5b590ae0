"""Forecast waits against real ones, under overload."""

from __future__ import annotations

import argparse
import random

import uvloop

from antiphon.client import TtsClient, connect
from antiphon.ticket import Limits
from bench.open_loop import Plan, drive, poisson_plan
from bench.processes import Processes, processes
from bench.tables import quantile, show

MODEL = "sleeper"
CHARACTERS_PER_S = 1000
MIN_WAIT_S = 0.5
"""Shorter waits are not judged: a request that runs when the forecast is made has an unknown rest."""


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench forecast")
    parser.add_argument("-n", type=int, default=400, help="requests")
    parser.add_argument("--slots", type=int, default=4, help="one node each")
    parser.add_argument("--load", type=float, default=1.25)
    chosen = parser.parse_args(options)
    service_s = (0.2, 0.8)
    plan = poisson_plan(chosen.n, slots=chosen.slots, load=chosen.load, service_s=service_s)
    rows = []
    for n_callers, noise in ((1, 0.0), (1, 0.3), (2, 0.3)):
        with processes() as group:
            for number in range(chosen.slots):
                group.node(MODEL, node=f"node{number}")
            group.gateway().wait_for_slots(chosen.slots)
            pairs = uvloop.run(_measure(group, plan, n_callers, noise))
        rows.append(_row(f"{n_callers}, ± {100 * noise:.0f} %", pairs))
    show(
        f"forecast: {chosen.slots} slots, load {chosen.load}, {chosen.n} requests of "
        f"{service_s[0]}-{service_s[1]} s",
        [
            "callers, time per character varies by",
            "waits",
            "longest s",
            "median error %",
            "p90 error %",
            "bias %",
        ],
        rows,
        f"Of waits of {MIN_WAIT_S} s and more. Error: |forecast - wait| ÷ wait; bias: that with its sign.\n"
        "To be reached: a median error of 20 %.",
    )


def _row(name: str, pairs: list[tuple[float, float]]) -> list[object]:
    """pairs: forecast and real wait, in seconds."""
    judged = [(forecast, wait) for forecast, wait in pairs if wait >= MIN_WAIT_S]
    errors = [100 * (forecast - wait) / wait for forecast, wait in judged]
    sizes = [abs(error) for error in errors]
    longest = max((wait for _, wait in judged), default=0.0)
    return [name, len(judged), longest, quantile(sizes, 0.5), quantile(sizes, 0.9), quantile(errors, 0.5)]


async def _measure(group: Processes, plan: Plan, n_callers: int, noise: float) -> list[tuple[float, float]]:
    limits = Limits(max_waiting=len(plan.arrivals))
    async with (
        connect(group.nats_url, limits=limits) as first,
        connect(group.nats_url, limits=limits) as second,
    ):
        callers = [first, second][:n_callers]
        for number in range(8):  # the nodes measure themselves
            await first.speak(_text(0.2, 0.2, -number), model=MODEL)
        return await _drive(callers, plan, noise)


async def _drive(callers: list[TtsClient], plan: Plan, noise: float) -> list[tuple[float, float]]:
    rng = random.Random(2)
    real_s = [service * rng.uniform(1 - noise, 1 + noise) for service in plan.services]
    forecasts = [0.0] * len(plan.arrivals)

    async def ask(number: int) -> None:
        caller = callers[number % len(callers)]
        forecasts[number] = caller.forecast(MODEL) or 0.0
        text = _text(plan.services[number], real_s[number], number)
        await caller.speak(text, model=MODEL, timeout_s=300)

    latencies = await drive(plan.arrivals, ask)
    return [
        (forecast, latency - round(service, 3))
        for forecast, latency, service in zip(forecasts, latencies, real_s, strict=True)
    ]


def _text(expected_s: float, real_s: float, number: int) -> str:
    """Return a text as long as `expected_s` at the usual rate, which takes `real_s`."""
    head = f"ms={1000 * real_s:.0f} id={number} "
    return head.ljust(round(CHARACTERS_PER_S * expected_s), ".")
