"""A node with the Xunfei engine and many slots: what it takes, and what it adds to the service's own time."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import psutil
import uvloop
from websockets.asyncio.client import connect

from antiphon.client import TtsClient
from antiphon.client import connect as connected
from bench.processes import Process, free_port, processes, wait_for_port
from bench.tables import quantile, show
from bench.xunfei_service import APP
from synth_node.engines.xunfei.online import Online
from synth_node.engines.xunfei.protocol import Wanted
from synth_node.engines.xunfei.signing import signed_url

MIB: Final = 1024 * 1024
TEXT: Final = "今天天气很好，我们去公园走走，看看花和树，好吗？"
WARM_UP: Final = 2
"""Rounds of all callers before anything is measured."""
FORMATS: Final = {"lame": "mp3", "raw": "pcm", "raw-mp3": "mp3"}
NAMES: Final = {
    "lame": "node, the service's mp3 passed on",
    "raw": "node, the service's samples passed on",
    "raw-mp3": "node, the service's samples encoded as mp3",
}
Heard = tuple[float, float]
"""Seconds to the first audio and to the last."""
Footprint = tuple[float, int, int]
"""MiB of the resident set, threads, children."""


@dataclass
class Run:
    """What one row was made of: seconds of each utterance, and the counters of the service after it."""

    first_s: list[float]
    whole_s: list[float]
    peak: int


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench xunfei")
    parser.add_argument("--slots", type=int, default=32, help="of the node, and callers at once")
    parser.add_argument("--rounds", type=int, default=10, help="utterances of each caller in a row")
    parser.add_argument("--repeats", type=int, default=3, help="of all rows in turn")
    parser.add_argument("--service-s", type=float, default=1.0, help="before the service's first frame")
    parser.add_argument(
        "--pace", type=float, default=0.0, help="seconds of audio sent in one; 0: all at once"
    )
    chosen = parser.parse_args(options)
    port, told_port = free_port(), free_port()
    url = f"ws://127.0.0.1:{port}/v2/tts"
    with processes() as group:
        group.python("xunfei_service", str(port), str(told_port), str(chosen.service_s), str(chosen.pace))
        wait_for_port(told_port)
        nodes = {}
        for aue in ("lame", "raw"):
            os.environ |= {
                "XUNFEI_URL": url,
                "XUNFEI_APP_ID": APP.app_id,
                "XUNFEI_API_KEY": APP.api_key,
                "XUNFEI_API_SECRET": APP.api_secret,
                "XUNFEI_AUE": aue,
            }
            nodes[aue] = group.node("xunfei", model=aue, slots=chosen.slots)
        rows, idle, busy = uvloop.run(_measure(group.nats_url, url, told_port, nodes, chosen))
    show(
        f"xunfei: {chosen.slots} callers at once, {chosen.rounds * chosen.repeats} utterances each; "
        f"milliseconds beyond the {chosen.service_s:g} s that the service takes to its first frame",
        ["", "first audio p50", "all p50", "all p90", "added to all p50", "each time", "at once"],
        rows,
        f"To be reached: 5 ms added, and {chosen.slots} at once. What is added is the difference to a bare "
        "client that asks for the same just before.",
    )
    show(
        f"xunfei: a node process of {chosen.slots} slots",
        ["the service sends", "MiB, idle", "MiB, at work", "threads", "children"],
        [[aue, idle[aue][0], *busy[aue]] for aue in nodes],
        "To be reached: 80 MiB, one process, one event loop.",
    )


def _footprint(node: Process) -> Footprint:
    process = psutil.Process(node.pid)
    return process.memory_info().rss / MIB, process.num_threads(), len(process.children(recursive=True))


async def _measure(
    nats_url: str, url: str, told_port: int, nodes: dict[str, Process], chosen: argparse.Namespace
) -> tuple[list[list[object]], dict[str, Footprint], dict[str, Footprint]]:
    """Return the rows of the first table, and the nodes' footprints before and after."""
    bare: dict[str, list[Run]] = {aue: [] for aue in nodes}
    runs: dict[str, list[Run]] = {name: [] for name in FORMATS}
    added: dict[str, list[float]] = {name: [] for name in FORMATS}
    async with connected(nats_url) as tts:
        await _until_free(tts, len(nodes) * chosen.slots)
        idle = {aue: _footprint(node) for aue, node in nodes.items()}
        busy = dict(idle)

        async def row(ask: Callable[[], Awaitable[Heard]]) -> Run:
            return await _row(ask, told_port, chosen)

        for _ in range(chosen.repeats):
            for name, format in FORMATS.items():
                model = name.partition("-")[0]
                ideal = await row(lambda aue=model: _bare(url, aue))  # type: ignore[misc]
                bare[model].append(ideal)
                runs[name].append(await row(lambda m=model, f=format: _spoken(tts, m, f)))  # type: ignore[misc]
                busy[model] = max(busy[model], _footprint(nodes[model]))
                added[name].append(1000 * (_p50(runs[name][-1]) - _p50(ideal)))
    rows = [_line(f"bare WebSocket client, {aue}", bare[aue], [], chosen.service_s) for aue in nodes]
    rows += [_line(NAMES[name], runs[name], added[name], chosen.service_s) for name in FORMATS]
    return rows, idle, busy


def _p50(run: Run) -> float:
    return quantile(run.whole_s, 0.5)


def _line(name: str, runs: list[Run], added_ms: list[float], service_s: float) -> list[object]:
    first_ms = [1000 * (s - service_s) for run in runs for s in run.first_s]
    whole_ms = [1000 * (s - service_s) for run in runs for s in run.whole_s]
    return [
        name,
        quantile(first_ms, 0.5),
        quantile(whole_ms, 0.5),
        quantile(whole_ms, 0.9),
        quantile(added_ms, 0.5) if added_ms else "",
        ", ".join(f"{ms:.1f}" for ms in added_ms),
        max(run.peak for run in runs),
    ]


async def _until_free(tts: TtsClient, n_slots: int) -> None:
    async with asyncio.timeout(30):
        while (await tts.status()).slots < n_slots or not tts.can_speak():  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def _row(ask: Callable[[], Awaitable[Heard]], told_port: int, chosen: argparse.Namespace) -> Run:
    """Have callers ask one after the other again and again, spread evenly over the service's time."""
    first_s: list[float] = []
    whole_s: list[float] = []
    await _told(told_port)

    async def caller(number: int) -> None:
        await asyncio.sleep(number * chosen.service_s / chosen.slots)
        for round in range(WARM_UP + chosen.rounds):
            first, whole = await ask()
            if round >= WARM_UP:
                first_s.append(first)
                whole_s.append(whole)

    async with asyncio.TaskGroup() as callers:
        for number in range(chosen.slots):
            callers.create_task(caller(number), name=f"caller {number}")
    counters = await _told(told_port)
    return Run(first_s, whole_s, counters["peak"])


async def _told(port: int) -> dict[str, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        return dict(json.loads(await reader.read()))
    finally:
        writer.close()


async def _spoken(tts: TtsClient, model: str, format: str) -> Heard:
    began_at = time.perf_counter()
    first_s = 0.0
    async with aclosing(tts.stream(TEXT, model=model, format=format)) as chunks:
        async for _ in chunks:
            first_s = first_s or time.perf_counter() - began_at
    return first_s, time.perf_counter() - began_at


async def _bare(url: str, aue: Literal["raw", "lame"]) -> Heard:
    """Do what any client has to do, and nothing else."""
    wanted = Wanted(TEXT, "xiaoyan", speed=50, volume=50, pitch=50, sample_rate=16_000, aue=aue)
    began_at = time.perf_counter()
    first_s = 0.0
    async with _opened(url) as connection:
        await connection.send(Online(APP.app_id, "UTF8").request(wanted))
        async for message in connection:
            data = json.loads(message)["data"]
            base64.b64decode(data["audio"])
            first_s = first_s or time.perf_counter() - began_at
            if data["status"] == 2:
                break
        whole_s = time.perf_counter() - began_at
    return first_s, whole_s


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Any]:
    address = signed_url(url, key=APP.api_key, secret=APP.api_secret, now=time.time())
    async with connect(
        address, proxy=None, compression=None, ping_interval=None, max_size=None
    ) as connection:
        yield connection
