"""Tasks that live as long as their owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]
"""Start a coroutine as a named task of the owner."""


@asynccontextmanager
async def background() -> AsyncIterator[Spawn]:
    """Own a group of tasks: what runs at the end is cancelled, and one that fails ends the owner too.

    What the block itself raises comes out as it is; only the failure of a task comes as an ExceptionGroup.
    """
    running: set[asyncio.Task[None]] = set()
    failure: Exception | GeneratorExit | None = None
    async with asyncio.TaskGroup() as group:

        def spawn(coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
            task = group.create_task(coroutine, name=name)
            running.add(task)
            task.add_done_callback(running.discard)
            return task

        try:
            yield spawn
        except (Exception, GeneratorExit) as exc:
            failure = exc  # raised in here, the group would wrap it
        finally:
            for task in list(running):
                task.cancel()
    if failure is not None:
        raise failure
