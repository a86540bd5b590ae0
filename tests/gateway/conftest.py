"""A gateway in the test's own loop, and HTTP as bytes for what no HTTP library would send."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession

from antiphon.client import TtsClient, connect
from antiphon.subjects import Subjects
from antiphon.ticket import Limits
from gateway.app import make_app
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.server import HttpServer, listening
from tests.gateway.support_openai import Scene, Stage, scene

if TYPE_CHECKING:
    from tests.conftest import NatsServer

GUARD_S = 20.0
"""Bound on every wait of a test: against hanging, far above what is expected."""
SCRIPTED = f"{Path(__file__).parent / 'scripted.py'}:Scripted"


@dataclass(frozen=True)
class Gateway:
    """A gateway that listens. http: a client session with its address as the base."""

    server: HttpServer
    link: Link
    http: ClientSession

    async def raw(self, request: bytes) -> RawReply:
        """Send bytes and read until the connection ends."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await self.read(reader)
        finally:
            writer.close()

    async def read(self, reader: asyncio.StreamReader) -> RawReply:
        """Read until the end of the connection, at most ten seconds."""
        data, reset = b"", False
        async with asyncio.timeout(10):
            try:
                while part := await reader.read(65536):
                    data += part
            except ConnectionResetError:
                reset = True
        head, _, body = data.partition(b"\r\n\r\n")
        status_line, *lines = head.decode().split("\r\n")
        status = int(status_line.split()[1]) if status_line else 0
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
        return RawReply(status, headers, body, reset)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a bare connection."""
        host, _, port = self.server.url.removeprefix("http://").rpartition(":")
        return await asyncio.open_connection(host, int(port))


@dataclass(frozen=True)
class RawReply:
    """All that came on one connection. reset: it ended in a reset, not in order."""

    status: int
    headers: dict[str, str]
    body: bytes
    reset: bool

    @property
    def error(self) -> dict[str, Any]:
        """The error of the one JSON shape."""
        return dict(json.loads(self.body)["error"])


GatewayFactory = Callable[..., AbstractAsyncContextManager[Gateway]]


@pytest.fixture
def gateway_at() -> GatewayFactory:
    """Start a gateway on a free port with these settings; it speaks through nothing until its link is set."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Gateway]:
        link = Link()
        config = GatewaySettings(**{"port": 0, "keepalive_s": 5.0, "grace_s": 2.0, **settings})
        async with (
            listening(make_app(link, config), config) as server,
            ClientSession(server.url) as session,
        ):
            yield Gateway(server, link, session)

    return start


@dataclass(frozen=True)
class Group:
    """Nodes that stay for a whole module: a two-slot tone, and one slot of the scripted engine."""

    nats_url: str
    subjects: Subjects


@pytest.fixture(scope="module")
def group(nats_server: NatsServer) -> Iterator[Group]:
    """Real nodes of the models `tone` and `scripted`, on subjects of their own."""
    root = f"t{uuid.uuid4().hex}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SYNTH_", "GATEWAY_", "NATS_"))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "synth_node"],
            env={**clean, "NATS_URL": nats_server.url, "TTS_ROOT": root, **settings},
            stderr=subprocess.DEVNULL,
        )
        for settings in (
            {"SYNTH_ENGINE": "tone", "SYNTH_SLOTS": "2"},
            {"SYNTH_ENGINE": SCRIPTED, "SYNTH_MODEL": "scripted"},
        )
    ]
    yield Group(nats_server.url, Subjects(root))
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


@pytest.fixture
def speaking(group: Group, gateway_at: GatewayFactory) -> GatewayFactory:
    """Start a gateway that speaks through the nodes of `group`."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Gateway]:
        bounds = {k: settings[k] for k in ("max_waiting", "max_waiting_bytes") if k in settings}
        async with (
            connect(group.nats_url, subjects=group.subjects, limits=Limits(**bounds)) as client,
            gateway_at(model="tone", **settings) as gateway,
        ):
            client.default_model = "tone"
            gateway.link.set(client)
            await has_idle(client, "tone")
            await has_idle(client, "scripted")
            yield gateway

    return start


async def has_idle(client: TtsClient, model: str) -> None:
    """Wait until a slot of the model is free."""
    async with asyncio.timeout(20):
        while not (await client.status()).models.get(model, {}).get("status"):
            pass


@pytest.fixture
def stage(nats_url: str, subjects: Subjects, gateway_at: GatewayFactory) -> Stage:
    """Start a gateway with these settings, and its node."""
    return partial(scene, nats_url, subjects, gateway_at)


@pytest.fixture
async def on_stage(stage: Stage) -> AsyncIterator[Scene]:
    """A gateway with its usual settings."""
    async with stage() as made:
        yield made


class Process:
    """A running gateway. url: where it listens."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.url = ""

    async def until_logged(self, event: str) -> dict[str, object]:
        """Read its log up to a line with this event."""
        assert self.process.stderr is not None
        async with asyncio.timeout(GUARD_S):
            async for line in self.process.stderr:
                values: dict[str, object] = json.loads(line)
                if values["event"] == event:
                    return values
        raise AssertionError(f"it ended before {event!r}")

    async def ended(self) -> tuple[int, str]:
        """Return its exit status and what is left of its log."""
        assert self.process.stderr is not None
        async with asyncio.timeout(GUARD_S):
            rest = await self.process.stderr.read()
            return await self.process.wait(), rest.decode()


StartGateway = Callable[..., AbstractAsyncContextManager[Process]]


@pytest.fixture
def start_gateway() -> StartGateway:
    """Start `python -m gateway` with these variables, on a free port."""

    @asynccontextmanager
    async def start(**environment: str) -> AsyncIterator[Process]:
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("GATEWAY_", "NATS_", "TTS_", "LOG_"))
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway"),
            env={**clean, "GATEWAY_PORT": "0", "LOG_FORMAT": "json", **environment},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield Process(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    return start


@pytest.fixture
def serving(start_gateway: StartGateway, group: Group) -> StartGateway:
    """Start a gateway in front of `group` and wait until it is connected."""

    @asynccontextmanager
    async def start(**environment: str) -> AsyncIterator[Process]:
        subjects = {"NATS_URL": group.nats_url, "TTS_ROOT": group.subjects.root}
        async with start_gateway(**subjects, **environment) as gateway:
            gateway.url = str((await gateway.until_logged("listening"))["url"])
            await gateway.until_logged("connected to NATS")
            yield gateway

    return start
