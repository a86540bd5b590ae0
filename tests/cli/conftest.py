"""`antiphon up` as a real process, on ports that are free."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

_PATIENCE_S = 30.0
_ANTIPHON = str(Path(sys.executable).with_name("antiphon"))


def clean_environment() -> dict[str, str]:
    """Return our environment without settings of the project."""
    prefixes = ("SYNTH_", "GATEWAY_", "ANTIPHON_", "NATS_", "TTS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


class Up:
    """A running `antiphon up`, and what it has printed so far."""

    def __init__(self, *options: str, environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [_ANTIPHON, "up", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=clean_environment() | (environment or {}),
        )
        self.output = ""
        self.errors = ""
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_output),
            threading.Thread(target=self._read_errors),
        ]
        for reader in self._readers:
            reader.start()

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for a line that matches `pattern`, from where the last call stopped."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no line like {pattern!r} in:\n{self.output}{self.errors}") from None
            assert line is not None, f"ended before {pattern!r}:\n{self.output}{self.errors}"
            if found := re.search(pattern, line):
                return found

    def ready(self) -> Up:
        """Wait for the banner; note the addresses in it."""
        self.until("^Antiphon speaks")
        self.http = self.until(r"HTTP +(\S+)").group(1)
        self.nats = self.until(r"NATS +(\S+)").group(1)
        self.until("Ctrl-C stops all of it")
        return self

    def programs(self, name: str = "") -> list[psutil.Process]:
        """Return the processes that it started, and theirs, whose command contains `name`."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if name in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def get(self, path: str) -> Any:
        """Return the JSON of GET `path`."""
        with urllib.request.urlopen(self.http + path, timeout=_PATIENCE_S) as answer:
            return json.load(answer)

    def until_nodes(self, n: int) -> None:
        """Wait until the group has so many nodes: it speaks when the first one is ready."""
        deadline = time.monotonic() + _PATIENCE_S
        while (n_nodes := self.get("/check_tts_status")["nodes"]) != n:
            assert time.monotonic() < deadline, n_nodes

    def speak(self, text: str) -> bytes:
        """Return the audio of POST /tts."""
        return post_tts(self.http, text)

    def end(self, signum: int = signal.SIGINT) -> int:
        """Signal it, wait until it and all that it started are gone; return the exit code."""
        programs = self.programs()
        self.process.send_signal(signum)
        code = self.wait()
        self.assert_gone(programs)
        return code

    def assert_gone(self, processes: list[psutil.Process]) -> None:
        """Fail if one of the processes still runs after a moment."""
        _, alive = psutil.wait_procs(processes, timeout=_PATIENCE_S)
        assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE], self.output

    def wait(self) -> int:
        """Wait for its end; return the exit code."""
        code = self.process.wait(timeout=_PATIENCE_S)
        for reader in self._readers:
            reader.join(timeout=_PATIENCE_S)
        return code

    def _read_output(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output += line
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self.errors += line


def post_tts(url: str, text: str) -> bytes:
    """Return the audio of POST /tts on the gateway at `url`."""
    request = urllib.request.Request(
        f"{url}/tts", json.dumps({"text": text}).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
        assert answer.headers["Content-Type"] == "audio/mpeg"
        return bytes(answer.read())


StartUp = Callable[..., Up]


@pytest.fixture
def start_up() -> Iterator[StartUp]:
    """Start `antiphon up` with options; whatever still runs at the end of the test is stopped."""
    started: list[Up] = []

    def start(*options: str, environment: dict[str, str] | None = None) -> Up:
        started.append(Up(*options, environment=environment))
        return started[-1]

    yield start
    for up in started:
        _stop(up)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """One `antiphon up` for the tests of a module that leave it as it was."""
    up = Up("--engine", "tone", "--port", "0", "--nats-port", "0")
    try:
        yield up.ready()
    finally:
        _stop(up)


def _stop(up: Up) -> None:
    """End it as fast as it can be while it still tidies up behind itself."""
    for signum in (signal.SIGTERM, signal.SIGTERM):
        up.process.send_signal(signum)  # nothing happens if it has ended
    try:
        up.wait()
    finally:
        up.process.kill()


@pytest.fixture
def antiphon() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the command `antiphon` to its end."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
        environment = clean_environment() | options.pop("environment", {})
        return subprocess.run(
            [_ANTIPHON, *arguments],
            capture_output=True,
            env=environment,
            timeout=_PATIENCE_S,
            check=False,
            **options,
        )

    return run


Join = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def join() -> Iterator[Join]:
    """Start `antiphon node` with options; whatever still runs at the end of the test is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        node = subprocess.Popen(
            [_ANTIPHON, "node", "--engine", "tone", *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=clean_environment() | (environment or {}),
        )
        started.append(node)
        return node

    yield start
    for node in started:
        node.kill()
        node.wait()


@pytest.fixture
def nowhere(tmp_path: Path) -> dict[str, str]:
    """An environment that names servers which do not exist, in both ways."""
    file = tmp_path / "nats_url"
    file.write_text("nats://127.0.0.1:1\n")
    return {"NATS_URL_FILE": str(file), "NATS_URL": "nats://127.0.0.1:2"}
