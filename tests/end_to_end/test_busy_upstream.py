"""A node whose engine's server wants a long wait: its callers are spoken to by other nodes meanwhile."""

from __future__ import annotations

import asyncio

from antiphon.client import TtsClient
from antiphon.mp3 import FrameCounter
from tests.conftest import StartNode, until, until_ready
from tests.synth_node.openai.support import Server, fails, serving


async def test_who_would_wait_long_is_spoken_to_by_another_node(
    client: TtsClient, start_node: StartNode
) -> None:
    server = Server()
    server.answers.extend([fails(429, Retry_After="30")] * 100)
    async with serving(server), asyncio.TaskGroup() as tasks:
        busy = await start_node(engine="openai", openai_base_url=server.url, model="shared", slots=2)
        await until_ready(client)
        callers = [tasks.create_task(client.speak(f"caller {number}")) for number in range(3)]
        await until(lambda: "the engine pauses" in busy.log, "the server has refused")
        await start_node(engine="tone", model="shared")
        for caller in callers:
            assert FrameCounter().feed(await caller) > 0.4
        assert len(server.asked) <= 2, "a server that wants a rest is left alone"
