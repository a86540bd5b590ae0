"""Breaks nodes, engines and the NATS server, one after another, and mends them."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter

import psutil

from bench.processes import Process


class Faults:
    """Disturbs a group until cancelled; at least half of the nodes are left alone at any time.

    counts: what was done so far.
    """

    def __init__(
        self, nats: Process, nodes: list[Process], *, every_s: float, nats_every_s: float, seed: int
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._nats = nats
        self._nodes = nodes
        self._every_s = every_s
        self._nats_every_s = nats_every_s
        self._disturbed: set[Process] = set()
        self._rng = random.Random(seed)

    async def run(self) -> None:
        """Disturb until cancelled, then mend everything."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._disturb_nats())
                while True:
                    await asyncio.sleep(self._rng.expovariate(1 / self._every_s))
                    whole = [node for node in self._nodes if node not in self._disturbed]
                    if 2 * len(whole) > len(self._nodes):
                        tasks.create_task(self._disturb(self._rng.choice(whole)))
        finally:
            for process in (self._nats, *self._nodes):
                process.send(signal.SIGCONT)
                if not process.alive:
                    process.restart()

    async def _disturb(self, node: Process) -> None:
        self._disturbed.add(node)
        kinds = (self._kill, self._freeze, self._kill_engine, self._drain)
        await self._rng.choices(kinds, weights=(4, 3, 2, 1))[0](node)
        self._disturbed.discard(node)

    async def _kill(self, node: Process) -> None:
        self.counts["nodes killed"] += 1
        await self._restart(node, signal.SIGKILL, pause_s=0.3)

    async def _drain(self, node: Process) -> None:
        self.counts["nodes drained"] += 1
        await self._restart(node, signal.SIGTERM, pause_s=0.3)

    async def _freeze(self, node: Process) -> None:
        self.counts["nodes frozen"] += 1
        node.send(signal.SIGSTOP)
        await asyncio.sleep(self._rng.choice((0.1, 0.7, 2.0, 4.0)))
        node.send(signal.SIGCONT)

    async def _kill_engine(self, node: Process) -> None:
        self.counts["engines killed"] += 1
        for child in psutil.Process(node.pid).children():
            child.kill()
        await asyncio.sleep(0.5)

    async def _disturb_nats(self) -> None:
        while True:
            await asyncio.sleep(self._rng.uniform(0.7, 1.3) * self._nats_every_s)
            self.counts["nats-server restarted"] += 1
            signum = self._rng.choice((signal.SIGKILL, signal.SIGTERM))
            await self._restart(self._nats, signum, pause_s=self._rng.choice((0.0, 0.2, 1.0)))

    async def _restart(self, process: Process, signum: int, *, pause_s: float) -> None:
        process.send(signum)
        while process.alive:  # noqa: ASYNC110 - a process that is not asyncio's own has no event
            await asyncio.sleep(0.01)
        await asyncio.sleep(pause_s)
        process.restart()
