"""Time to first audio of a long text, beside that of its first sentence alone."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import uvloop

from antiphon.client import TtsClient, connect
from bench.http_client import HttpConnection, get, open_connection
from bench.http_stream import streamed
from bench.processes import Gateway, Processes, processes
from bench.tables import quantile, show
from bench.texts import FIRST, prose
from synth_node.text.segments import parts

N_SLOTS = 2
WARM_UP = 5
Ask = Callable[[str], Awaitable[float]]


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench first_sound")
    parser.add_argument("-n", type=int, default=100, help="requests of each text on each way")
    parser.add_argument("--words", type=int, default=2000, help="of the long text")
    parser.add_argument("--engine", default="espeak")
    chosen = parser.parse_args(options)
    text = prose(chosen.words)
    with processes() as group:
        for _ in range(N_SLOTS):
            group.node(chosen.engine)
        gateway = group.gateway()
        gateway.wait_for_slots(N_SLOTS)
        rows = uvloop.run(_measure(group, gateway, text, chosen.n))
    show(
        f"first_sound: {chosen.words} words ({len(text)} characters) and the first sentence alone "
        f"({len(FIRST)}), {chosen.engine}, {N_SLOTS} idle nodes, {chosen.n} of each in turn",
        ["", "sentence p50 ms", "text p50 ms", "ratio", "sentence p90 ms", "text p90 ms"],
        rows,
        f"To be reached: a ratio of 1.2. Cutting the whole text takes {_cutting_ms(text):.1f} ms here.",
    )


def _cutting_ms(text: str) -> float:
    times_ms = []
    for _ in range(10):
        started_at = time.perf_counter()
        parts(text)
        times_ms.append(1000 * (time.perf_counter() - started_at))
    return quantile(times_ms, 0.5)


async def _measure(group: Processes, gateway: Gateway, text: str, n: int) -> list[list[object]]:
    async with connect(group.nats_url) as tts:
        asking = await open_connection(gateway.port)
        ways: dict[str, Ask] = {
            "Python client over NATS": lambda each: _over_nats(tts, each),
            "POST /tts, stream": lambda each: _over_http(gateway, "/tts", {"text": each, "stream": True}),
            "POST /v1/audio/speech": lambda each: _over_http(
                gateway, "/v1/audio/speech", {"input": each, "model": "tts-1", "voice": "alloy"}
            ),
        }
        rows = [await _row(name, asking, ask, text, n) for name, ask in ways.items()]
        asking.close()
    return rows


async def _over_nats(tts: TtsClient, text: str) -> float:
    started_at = time.perf_counter()
    async with aclosing(tts.stream(text)) as chunks:
        await anext(chunks)
        return time.perf_counter() - started_at


async def _over_http(gateway: Gateway, path: str, body: dict[str, object]) -> float:
    async with streamed(gateway.port, path, body) as stream:
        started_at = time.perf_counter()
        await stream.begin()
        await stream.read()
        return time.perf_counter() - started_at


async def _row(name: str, asking: HttpConnection, ask: Ask, text: str, n: int) -> list[object]:
    rng = random.Random(1)
    times_ms: dict[str, list[float]] = {FIRST: [], text: []}
    for number in range(n + WARM_UP):
        for each in rng.sample([FIRST, text], 2):
            await _idle(asking)
            seconds = await ask(each)
            if number >= WARM_UP:
                times_ms[each].append(1000 * seconds)
    short, long = times_ms[FIRST], times_ms[text]
    medians = quantile(short, 0.5), quantile(long, 0.5)
    return [name, *medians, medians[1] / medians[0], quantile(short, 0.9), quantile(long, 0.9)]


async def _idle(asking: HttpConnection) -> None:
    """Wait until the last request is over everywhere, also with those that helped."""
    async with asyncio.timeout(30):
        while True:
            reply = await asking.send(get("/check_tts_status"))
            await asyncio.sleep(0.03)
            if json.loads(reply.body)["busy"] == 0:
                return
