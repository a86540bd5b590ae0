"""The health check of a node's container."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synth_node.health import STATE_FILE, fault, write_state

HEALTHY: dict[str, object] = {
    "node": "n1",
    "state": "ready",
    "slots": 1,
    "paused": "",
    "connected": True,
    "interval_s": 1.0,
    "written_at_s": 100.0,
}


def test_a_node_that_wrote_a_moment_ago_is_healthy() -> None:
    assert fault(HEALTHY, 101.5) is None


@pytest.mark.parametrize(
    ("change", "now_s", "reason"),
    [
        ({}, 104.5, "no sign of life for 4 s"),
        ({"connected": False}, 100.0, "not connected to NATS"),
        ({"state": "starting"}, 100.0, "starting"),
        ({"slots": 0}, 100.0, "no slot is idle or busy"),
        ({"written_at_s": None}, 100.0, "the state file holds no state"),
        ({"interval_s": "1"}, 100.0, "the state file holds no state"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, object], now_s: float, reason: str) -> None:
    assert fault({**HEALTHY, **change}, now_s) == reason


def test_a_draining_node_is_healthy() -> None:
    assert fault({**HEALTHY, "state": "draining"}, 100.0) is None


def test_a_node_whose_engine_pauses_is_healthy() -> None:
    assert fault({**HEALTHY, "slots": 0, "paused": "the server is busy"}, 100.0) is None


def _check(path: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != STATE_FILE}
    if path is not None:
        environment[STATE_FILE] = str(path)
    command = [sys.executable, "-m", "synth_node.health"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)


def test_the_command_reads_what_the_node_wrote(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_state(path, node="n1", state="ready", slots=1, paused="", connected=True, interval_s=60.0)
    assert (_check(path).returncode, list(tmp_path.iterdir())) == (0, [path])
    write_state(path, node="n1", state="ready", slots=1, paused="", connected=False, interval_s=60.0)
    done = _check(path)
    assert (done.returncode, done.stderr) == (1, "not connected to NATS\n")


@pytest.mark.parametrize("content", [None, "", "{", "[]"])
def test_no_state_is_no_health(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "state.json"
    if content is not None:
        path.write_text(content)
    assert _check(path).returncode == 1


def test_without_the_variable_the_command_says_so() -> None:
    assert _check(None).stderr == f"{STATE_FILE} is not set\n"
