"""Connections to the server: what it sends beside its answers is nobody's audio."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.synth_node.conftest import GUARD_S
from tests.synth_node.network.support import spoken
from tests.synth_node.openai.support import engine_for

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: audio/pcm\r\nContent-Length: 4\r\n\r\n"


async def test_an_answer_that_comes_twice_is_not_taken_for_that_of_the_next_request() -> None:
    is_heard = asyncio.Event()
    n_asked = 0

    async def answer_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal n_asked
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split()[0]))
                n_asked += 1
                writer.write(HEAD + b"%04d" % n_asked)
                await is_heard.wait()
                is_heard.clear()
                writer.write(HEAD + b"%04d" % n_asked)
        with suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as answering:
        server = await asyncio.start_server(
            lambda *ends: answering.create_task(answer_twice(*ends)) and None, "127.0.0.1"
        )
        port = server.sockets[0].getsockname()[1]
        async with server, engine_for(f"http://127.0.0.1:{port}/v1") as (engine, _):
            for number in range(1, 4):
                assert await spoken(engine) == b"%04d" % number
                is_heard.set()
