"""A server on loopback that answers as the test says, and the engine that speaks through it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from synth_node.engines.openai.engine import OpenAI
from synth_node.engines.openai.settings import OpenAISettings
from synth_node.network.throttle import Throttle
from tests.synth_node.conftest import GUARD_S

PCM: Final = bytes(range(256)) * 8
KEY: Final = "sk-test-hunter2"
Answer = Callable[["Asked"], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request. at_s: when it came, on the loop's clock. gone: set when the client has left."""

    request: web.Request
    body: dict[str, Any]
    at_s: float
    gone: asyncio.Event

    async def begin(self, *pieces: bytes, content_type: str = "audio/pcm") -> web.StreamResponse:
        """Send the head of an answer without a length, and pieces of it."""
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(self.request)
        for piece in pieces:
            await response.write(piece)
        return response

    def cut(self) -> None:
        """Break the connection."""
        assert self.request.transport is not None
        self.request.transport.abort()


async def speaks(asked: Asked) -> web.StreamResponse:
    """Answer with samples."""
    return web.Response(body=PCM, content_type="audio/pcm")


def speaks_together(server: Server, n: int) -> Answer:
    """Answer with samples as soon as `n` requests are being answered at once."""
    together = asyncio.Event()

    async def answer(asked: Asked) -> web.StreamResponse:
        if server.n_open == n:
            together.set()
        await together.wait()
        return await speaks(asked)

    return answer


def fails(status: int, body: object = None, **headers: str) -> Answer:
    """Answer with an error. Underscores in the names of headers are hyphens."""

    async def answer(asked: Asked) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(body, status=status, headers=named)

    return answer


def says(body: bytes, content_type: str = "audio/pcm", status: int = 200) -> Answer:
    """Answer with these bytes."""

    async def answer(asked: Asked) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers={"Content-Type": content_type})

    return answer


class Server:
    """answers: for the next requests for speech; afterwards they are all answered with samples.

    probes: what a path answers that is asked for a list or to say nothing; others are 404.
    heads: every request. asked: those for speech.
    n_open, most_open: requests for speech that are being answered, now and at most.
    """

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.probes: dict[str, Answer] = {"audio/speech": fails(400)}
        self.asked: list[Asked] = []
        self.heads: list[web.Request] = []
        self.n_open = self.most_open = 0
        self.url = ""

    async def on_request(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        self.heads.append(request)
        loop = asyncio.get_running_loop()
        body = json.loads(await request.read() or b"{}")
        asked = Asked(request, body, loop.time(), asyncio.Event())
        if request.method == "GET" or body["input"] == "":
            return await self.probes.get(request.path.removeprefix("/v1/"), fails(404))(asked)
        self.asked.append(asked)
        self.n_open += 1
        self.most_open = max(self.most_open, self.n_open)
        try:
            return await (self.answers.popleft() if self.answers else speaks)(asked)
        except (ConnectionError, asyncio.CancelledError):
            asked.gone.set()
            raise
        finally:
            self.n_open -= 1


@asynccontextmanager
async def serving(server: Server, port: int = 0) -> AsyncIterator[Server]:
    """Have it listen, on a free port unless it is that of `held_port`."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.on_request)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.0, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, reuse_port=True)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()


@contextmanager
def held_port() -> Iterator[int]:
    """Give a port that refuses connections, and is nobody else's, until a server listens on it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@asynccontextmanager
async def engine_for(
    url: str, *, slots: int = 1, probed: bool = True, **settings: Any
) -> AsyncIterator[tuple[OpenAI, Throttle]]:
    """Open an engine; it may speak at once if it counts as probed."""
    values: dict[str, Any] = {"base_url": url, "api_key": KEY, **settings}
    throttle = Throttle(slots)
    async with asyncio.timeout(GUARD_S), OpenAI(OpenAISettings(**values), throttle) as engine:
        if probed:
            engine._key = engine._settings.key()
            throttle.open()
        try:
            yield engine, throttle
        finally:
            throttle.close()
