"""One real nats-server per test session, a subject root per test, and real node processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from antiphon.client import TtsClient, connect
from antiphon.subjects import Subjects

ROOT = Path(__file__).parent.parent
GUARD_S = 20.0
"""Bound on every wait of a test: against hanging, far above what is expected."""


class NatsServer:
    """A real nats-server as a process, on ports that it picks itself and keeps over restarts.

    config: its configuration; the project's own unless given.
    """

    def __init__(self, directory: Path, config: Path = ROOT / "nats" / "nats-server.conf") -> None:
        self._directory = directory
        self._config = config
        self._port, self._monitor_port = -1, -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self._port}"

    @property
    def monitor_url(self) -> str:
        """Where the server tells of itself."""
        return f"http://127.0.0.1:{self._monitor_port}"

    def start(self) -> None:
        """Start it, on the ports it had before if there are any."""
        binary = Path(sys.executable).parent / "nats-server"
        self._process = subprocess.Popen(
            [
                *(str(binary), "-c", str(self._config), "-a", "127.0.0.1"),
                *("-p", str(self._port), "-m", str(self._monitor_port)),
                *("--ports_file_dir", str(self._directory)),
            ],
            stderr=subprocess.DEVNULL,
        )
        ports = self._directory / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + GUARD_S
        while not ports.exists() or not ports.read_text():
            assert self._process.poll() is None, "nats-server ended"
            assert time.monotonic() < deadline, "nats-server did not start"
            time.sleep(0.005)
        addresses = json.loads(ports.read_text())
        self._port = int(addresses["nats"][0].rpartition(":")[2])
        self._monitor_port = int(addresses["monitoring"][0].rpartition(":")[2])

    def reload(self) -> None:
        """Have it read its configuration again, and wait until it has."""
        assert self._process is not None
        loaded_at = self._config_load_time()
        self._process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + GUARD_S
        while self._config_load_time() == loaded_at:
            assert time.monotonic() < deadline, "nats-server did not read its configuration"
            time.sleep(0.005)

    def _config_load_time(self) -> str:
        with urllib.request.urlopen(f"{self.monitor_url}/varz", timeout=GUARD_S) as answer:
            return str(json.load(answer)["config_load_time"])

    def stop(self, signum: int = signal.SIGTERM) -> None:
        """End it and wait for it."""
        if self._process is not None:
            self._process.send_signal(signum)
            self._process.wait(GUARD_S)
            self._process = None


@pytest.fixture(scope="session")
def nats_server() -> Iterator[NatsServer]:
    """The session's server; a test that stops one takes `own_nats_server` instead."""
    with tempfile.TemporaryDirectory() as directory:
        server = NatsServer(Path(directory))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def own_nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A server of the test's own, to be stopped and started."""
    server = NatsServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """URL of the session's server."""
    return nats_server.url


@pytest.fixture
def subjects() -> Subjects:
    """A subject root that no other test uses, so tests share the server and never meet."""
    return Subjects(root=f"t{uuid.uuid4().hex}")


class NodeProcess:
    """A real `python -m synth_node`. name: as the heartbeat shows it. log: what it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process, name: str, model: str) -> None:
        self.process = process
        self.name = name
        self.model = model
        self.lines: list[str] = []

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything it wrote so far."""
        return "".join(self.lines)

    def send_signal(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(signum)

    async def wait(self) -> int:
        """Return its exit status."""
        async with asyncio.timeout(GUARD_S):
            return await self.process.wait()

    async def read_log(self) -> None:
        """Collect what it writes, until it ends."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode(errors="replace"))


def node_environment(nats_url: str, subjects: Subjects, **settings: object) -> dict[str, str]:
    """Return the environment of a node: SYNTH_* from `settings`, none from our own environment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SYNTH_", "GATEWAY_", "NATS_"))}
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "engines")])
    return {
        **clean,
        "PYTHONPATH": path,
        "NATS_URL": nats_url,
        "TTS_ROOT": subjects.root,
        **{f"SYNTH_{key.upper()}": str(value) for key, value in settings.items()},
    }


@asynccontextmanager
async def node_process(
    nats_url: str, subjects: Subjects, *, engine: str = "tone", name: str | None = None, **settings: object
) -> AsyncIterator[NodeProcess]:
    """Run a real node; it is killed at the end if it still runs."""
    name = name or f"node{uuid.uuid4().hex[:8]}"
    environment = node_environment(nats_url, subjects, engine=engine, node=name, **settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "synth_node"),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    node = NodeProcess(process, name, str(settings.get("model", engine)))
    reader = asyncio.create_task(node.read_log())
    try:
        yield node
    finally:
        node.send_signal(signal.SIGCONT)
        node.send_signal(signal.SIGKILL)
        await process.wait()
        await reader


StartNode = Callable[..., Any]


@pytest.fixture
async def start_node(nats_url: str, subjects: Subjects) -> AsyncIterator[StartNode]:
    """Return a coroutine function that starts a node and returns its NodeProcess; see node_process."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> NodeProcess:
            return await stack.enter_async_context(node_process(nats_url, subjects, **options))

        yield start


@pytest.fixture
async def client(nats_url: str, subjects: Subjects) -> AsyncIterator[TtsClient]:
    """A client on the session's server and the test's own subjects."""
    async with connect(nats_url, subjects=subjects) as tts:
        yield tts


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; for state that has no event of its own."""
    deadline = time.monotonic() + GUARD_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        await asyncio.sleep(0.005)


async def until_ready(tts: TtsClient, nodes: int = 1) -> None:
    """Wait until so many nodes are ready."""

    def ready() -> bool:
        seen = tts.cluster.nodes(asyncio.get_running_loop().time())
        return sum(each.heartbeat.state == "ready" and each.heartbeat.idle > 0 for each in seen) >= nodes

    await until(ready, f"{nodes} ready nodes")
