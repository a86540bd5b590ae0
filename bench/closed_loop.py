"""Load that keeps all slots busy: each connection sends its next request when it has its answer."""

from __future__ import annotations

import asyncio
import time

from bench.http_client import open_connection, post


async def seconds_per_utterance(port: int, *, slots: int, service_ms: int, n: int) -> float:
    """Keep `slots` busy with `n` requests and the queue filled; return what one costs a slot, in seconds.

    What it is more than the service is the slot's pause between two utterances. Raises RuntimeError for an
    answer that is not 200.
    """
    numbers = iter(range(n))

    async def ask() -> None:
        connection = await open_connection(port)
        for number in numbers:
            reply = await connection.send(post(f"ms={service_ms} id=busy-{number}"))
            if reply.status != 200:
                raise RuntimeError(f"status {reply.status}: {reply.body[:500]!r}")
        connection.close()

    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3 * slots):
            tasks.create_task(ask())
    return (time.perf_counter() - started_at) * slots / n
