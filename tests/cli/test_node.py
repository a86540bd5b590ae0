"""`antiphon node`: one more node for a server that runs."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from tests.cli.conftest import Join, Up

    Antiphon = Callable[..., subprocess.CompletedProcess[bytes]]


def _workers(up: Up) -> set[str]:
    return {worker["name"] for worker in up.get("/check_tts_status")["workers"] if worker["state"] == "ready"}


def _until_workers(up: Up, names: set[str]) -> None:
    deadline = time.monotonic() + 30
    while (there := _workers(up)) != names:  # each round waits for the nodes' answers: no busy loop
        assert time.monotonic() < deadline, there


def test_it_joins_and_leaves(up: Up, join: Join) -> None:
    node = join("--name", "guest", "--nats", up.nats)
    _until_workers(up, {"node-1", "node-2", "guest"})
    # The URL may hold credentials: it is no part of the command that others see.
    assert up.nats not in " ".join(psutil.Process(node.pid).cmdline())
    node.send_signal(signal.SIGTERM)
    assert node.wait(timeout=30) == 0
    _until_workers(up, {"node-1", "node-2"})


def test_it_joins_the_named_server_whatever_the_environment_says(
    up: Up, join: Join, nowhere: dict[str, str]
) -> None:
    node = join("--name", "guest", "--nats", up.nats, environment=nowhere)
    _until_workers(up, {"node-1", "node-2", "guest"})
    node.send_signal(signal.SIGTERM)
    assert node.wait(timeout=30) == 0
    _until_workers(up, {"node-1", "node-2"})


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
