"""Memory of a gateway with a full queue, and of a node beside its engine."""

from __future__ import annotations

import argparse
import asyncio
from typing import Final

import psutil
import uvloop

from bench.http_client import HttpConnection, get, open_connection, post
from bench.processes import Gateway, processes
from bench.tables import show

MIB: Final = 1024 * 1024
SPOKEN: Final = 50
"""Utterances after which a node is measured."""


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench memory")
    parser.add_argument("-n", type=int, default=1000, help="requests that wait")
    parser.add_argument("--characters", type=int, default=1000, help="of each of them")
    chosen = parser.parse_args(options)
    rows = [
        *_gateway("a", "ASCII", chosen.n, chosen.characters),
        *_gateway("说", "Chinese", chosen.n, chosen.characters),
        *_node("espeak"),
        *_node("tone"),
    ]
    show("memory: resident set", ["", "MiB", "to be reached"], rows)


def _gateway(character: str, kind: str, n: int, n_characters: int) -> list[list[object]]:
    with processes() as group:
        group.node("sleeper")
        gateway = group.gateway(max_waiting=n)
        gateway.wait_for_slots(1)
        idle = _rss_mib(gateway.process.pid)
        text = "ms=50000 "
        full = uvloop.run(_fill(gateway, text + (n_characters - len(text)) * character, n))
        name = f"gateway, {n} requests of {n_characters} {kind} characters wait"
        return [[f"gateway, idle ({kind})", idle, ""], [name, full, "≤ 150"]]


async def _fill(gateway: Gateway, text: str, n: int) -> float:
    """Have one request on the slot and `n` in the queue; return the gateway's memory in MiB then."""
    connections = [await open_connection(gateway.port)]
    replies = [connections[0].send(post(text))]
    await asyncio.sleep(0.5)
    for _ in range(n):
        connections.append(await open_connection(gateway.port))
        replies.append(connections[-1].send(post(text)))
    asking = await open_connection(gateway.port)
    async with asyncio.timeout(20):
        while (n_waiting := int((await asking.send(get("/count"))).body)) < n:
            if early := [reply for reply in replies if reply.done()]:
                raise RuntimeError(f"{n_waiting} wait, and there is an answer: {early[0].result()}")
            await asyncio.sleep(0.1)
    memory = _rss_mib(gateway.process.pid)
    for connection in connections:
        connection.close()
    await asyncio.gather(*replies, return_exceptions=True)
    return memory


def _node(engine: str) -> list[list[object]]:
    with processes() as group:
        node = group.node(engine)
        gateway = group.gateway()
        gateway.wait_for_slots(1)
        uvloop.run(_speak(gateway))
        (child,) = psutil.Process(node.pid).children()
        return [
            [f"node after {SPOKEN} mp3 ({engine}, one slot)", _rss_mib(node.pid), "≤ 60"],
            [f"its engine process ({engine})", child.memory_info().rss / MIB, ""],
        ]


async def _speak(gateway: Gateway) -> None:
    connection: HttpConnection = await open_connection(gateway.port)
    for number in range(SPOKEN):
        reply = await connection.send(post(f"This is sentence number {number}. " * (1 + number % 20)))
        if reply.status != 200:
            raise RuntimeError(f"status {reply.status}: {reply.body[:500]!r}")
    connection.close()


def _rss_mib(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / MIB)
