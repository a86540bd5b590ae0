"""The processes of a benchmark: a nats-server, nodes and gateways that end with it, however it ends."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
ENGINE: Final = ROOT / "bench" / "engine.py"
START_S: Final = 30.0
"""Bound on the start of anything here."""
_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None)


class Process:
    """One process. log: file of what it writes."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        self._command = command
        self._environment = environment
        self.popen = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as file:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                preexec_fn=_die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.popen.poll() is None

    def send(self, signum: int) -> None:
        """Send a signal, unless it has ended."""
        if self.alive:
            self.popen.send_signal(signum)

    def restart(self) -> None:
        """Start it again with the same command, once it has ended."""
        self.popen.wait(START_S)
        self.popen = self._start()

    def end(self, signum: int = signal.SIGTERM) -> None:
        """End it and wait for it; one that does not end is killed."""
        self.send(signal.SIGCONT)
        self.send(signum)
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.send(signal.SIGKILL)
            self.popen.wait()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Gateway:
    """A gateway process and where it listens."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port

    def status(self) -> dict[str, Any]:
        """Return what GET /check_tts_status says; an empty dictionary while it cannot be asked."""
        try:
            url = f"http://127.0.0.1:{self.port}/check_tts_status"
            with urllib.request.urlopen(url, timeout=2) as reply:
                return dict(json.load(reply))
        except (OSError, urllib.error.URLError, ValueError):
            return {}

    def wait_for_slots(self, n: int) -> None:
        """Wait until `n` slots are idle. Raises RuntimeError, with its log, when they do not come."""
        deadline = time.monotonic() + START_S
        while sum(worker["idle"] for worker in self.status().get("workers", ())) < n:
            if time.monotonic() > deadline or not self.process.alive:
                raise RuntimeError(f"{n} slots did not come:\n{self.process.log.read_text()[-2000:]}")
            time.sleep(0.05)


class Processes:
    """Everything that one benchmark started.

    profile: directory for cProfile statistics of nodes and gateways, written as they end; None is without.
    """

    def __init__(self, directory: Path, profile: Path | None) -> None:
        self.directory = directory
        self.all: list[Process] = []
        self._profile = profile
        self._nats_port = free_port()
        binary = Path(sys.executable).parent / "nats-server"
        configuration = ROOT / "nats" / "nats-server.conf"
        # -m -1: any port for monitoring, which nobody here reads.
        command = [str(binary), "-c", str(configuration), "-p", str(self._nats_port), "-m", "-1"]
        self.nats = self._start(command, {}, "nats-server")
        wait_for_port(self._nats_port)

    @property
    def nats_url(self) -> str:
        """Where NATS clients connect."""
        return f"nats://127.0.0.1:{self._nats_port}"

    def node(self, engine: str, **settings: object) -> Process:
        """Start a node. engine: a name, or a function of engine.py. settings: SYNTH_*, in lower case."""
        spec = engine if engine in ("espeak", "tone", "xunfei") else f"{ENGINE}:{engine}"
        variables = {f"SYNTH_{key.upper()}": str(value) for key, value in settings.items()}
        return self._start(self._python("synth_node"), {"SYNTH_ENGINE": spec, **variables}, "synth_node")

    def gateway(self, **settings: object) -> Gateway:
        """Start a gateway. settings: GATEWAY_*, in lower case."""
        port = free_port()
        variables = {f"GATEWAY_{key.upper()}": str(value) for key, value in settings.items()}
        process = self._start(self._python("gateway"), {**variables, "GATEWAY_PORT": str(port)}, "gateway")
        wait_for_port(port)
        return Gateway(process, port)

    def python(self, module: str, *arguments: str) -> Process:
        """Start another Python process of the benchmark itself: bench.<module>."""
        return self._start([sys.executable, "-m", f"bench.{module}", *arguments], {}, module)

    def end(self) -> None:
        """End everything, last started first."""
        for process in reversed(self.all):
            process.end()

    def _python(self, module: str) -> list[str]:
        if self._profile is None:
            return [sys.executable, "-m", module]
        self._profile.mkdir(parents=True, exist_ok=True)
        statistics = self._profile.absolute() / f"{module}-{len(self.all)}.prof"
        return [sys.executable, "-m", "cProfile", "-o", str(statistics), "-m", module]

    def _start(self, command: list[str], variables: dict[str, str], name: str) -> Process:
        ours = ("SYNTH_", "GATEWAY_", "NATS_", "TTS_")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        log = self.directory / f"{len(self.all)}-{name}.log"
        environment = {**clean, "LOG_LEVEL": "warning", "LOG_FORMAT": "json", **variables}
        if name != "nats-server":
            environment["NATS_URL"] = self.nats_url
        process = Process(command, environment, log)
        self.all.append(process)
        return process


@contextmanager
def processes(*, profile: Path | None = None, directory: Path | None = None) -> Iterator[Processes]:
    """Start a nats-server; end it and all that was started beside it.

    profile: see Processes. directory: for the logs, which are kept then.
    """
    with tempfile.TemporaryDirectory(prefix="antiphon-bench-") as temporary:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        everything = Processes(directory or Path(temporary), profile)
        try:
            yield everything
        finally:
            everything.end()


def free_port() -> int:
    """Return a port of the loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for_port(port: int) -> None:
    """Wait until somebody listens there. Raises RuntimeError."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nobody listens on port {port}")
