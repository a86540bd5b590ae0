"""`antiphon node`: one more node for a server that runs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tests.cli.conftest import Up

    Antiphon = Callable[..., subprocess.CompletedProcess[bytes]]


def _workers(up: Up) -> set[str]:
    return {worker["name"] for worker in up.get("/check_tts_status")["workers"] if worker["state"] == "ready"}


def _until_workers(up: Up, names: set[str]) -> None:
    deadline = time.monotonic() + 30
    while (there := _workers(up)) != names:  # each round waits for the nodes' answers: no busy loop
        assert time.monotonic() < deadline, there


def test_it_joins_and_leaves(up: Up) -> None:
    command = [str(Path(sys.executable).with_name("antiphon")), "node", "--engine", "tone", "--name", "guest"]
    node = subprocess.Popen(
        [*command, "--nats", up.nats], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until_workers(up, {"node-1", "node-2", "guest"})
        # The URL may hold credentials: it is no part of the command that others see.
        assert up.nats not in " ".join(psutil.Process(node.pid).cmdline())
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=30) == 0
        _until_workers(up, {"node-1", "node-2"})
    finally:
        if node.poll() is None:
            node.kill()
            node.wait()


def test_without_a_server_it_says_where_it_looked(antiphon: Antiphon) -> None:
    done = antiphon("node", "--nats", "nats://secret@127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: No connection to NATS at nats://127.0.0.1:1: ")
    assert done.stderr.count(b"\n") == 1
    assert b"secret" not in done.stderr


def test_a_bad_engine_is_one_sentence(up: Up, antiphon: Antiphon) -> None:
    done = antiphon("node", "--nats", up.nats, "--engine", "no_such_engine")
    assert done.returncode == 2
    assert b"no_such_engine" in done.stderr
    assert done.stderr.count(b"\n") == 1
