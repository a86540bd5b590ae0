"""Slots that share an engine process, without a node around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from antiphon.background import background
from synth_node.host import EngineRequest
from synth_node.process.batch import Member
from synth_node.process.batch_host import BatchEngine, BatchHost
from synth_node.process.options import EngineOptions
from tests.engines.batches import heard
from tests.synth_node.conftest import ENGINES, GUARD_S

BATCHES: Final = f"{ENGINES / 'batches.py'}:"
LONG_S: Final = 3600.0
"""A wait that no test sees the end of: what begins has begun for another reason."""


@asynccontextmanager
async def sharing(
    form: str, slots: int, *, wait_s: float = LONG_S, **options: Any
) -> AsyncIterator[list[BatchHost]]:
    """Give the hosts of slots that share one process of an engine of batches.py."""
    engine = BatchEngine(BATCHES + form, number=0, options=EngineOptions(**options), wait_s=wait_s)
    async with asyncio.timeout(2 * GUARD_S), background() as spawn, AsyncExitStack() as stack:
        spawn(engine.run(), "engine process")
        yield [await stack.enter_async_context(BatchHost(engine)) for _ in range(slots)]


async def listen(host: BatchHost, member: Member) -> str:
    """Return the text that the audio of an utterance is; raises what it raises."""
    pcm = b""
    try:
        while (piece := await member.next()) is not None:
            pcm += piece
    finally:
        host.leave(member)
    return heard(pcm)


async def say(host: BatchHost, text: str, **options: Any) -> str:
    """Speak a text, as soon as that can be; return what is heard."""
    await host.ready()
    return await listen(host, host.speak(EngineRequest(text, **options)))


async def say_all(hosts: list[BatchHost], *texts: str) -> list[str | BaseException]:
    """Speak each text with a host of its own; return what is heard, or what was raised."""
    pairs = zip(hosts, texts, strict=True)
    return await asyncio.gather(*(say(host, text) for host, text in pairs), return_exceptions=True)
