"""What `antiphon up` tells when it is ready can be typed as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from antiphon.cli import environment
from antiphon.cli.banner import banner
from antiphon.cli.engines import engines_of
from antiphon.cli.up import Plan

URL = "nats://127.0.0.1:4222"


def shown(*engines: str, models: tuple[str, ...] = (), nodes: int = 2) -> str:
    plan = Plan(
        nodes=nodes,
        slots=1,
        engines=engines_of(engines, models),
        host="127.0.0.1",
        port=8080,
        nats=environment.nats_at(URL),
        server=None,
        start_timeout_s=1,
    )
    return banner(plan, plan.nats, None, "MODEL")


@pytest.mark.parametrize(
    ("engines", "models", "options"),
    [
        (("espeak",), (), ""),
        (("my models/hum.py:Hummer",), (), " --engine 'my models/hum.py:Hummer'"),
        (("hum.py:Hummer", "espeak"), (), " --engine hum.py:Hummer"),
        (("hum.py:Hummer",), ("hum",), " --engine hum.py:Hummer --model hum"),
    ],
)
def test_a_node_that_is_added_speaks_with_the_same_engine(
    engines: tuple[str, ...], models: tuple[str, ...], options: str
) -> None:
    assert f"\n  antiphon node --nats {URL}{options}\n" in shown(*engines, models=models)


def test_without_nodes_there_is_no_engine_to_add() -> None:
    assert f"\n  antiphon node --nats {URL}\n" in shown("hum.py:Hummer", nodes=0)


@pytest.mark.parametrize(
    ("called", "is_found", "command"),
    [
        (".venv/bin/antiphon", False, ".venv/bin/antiphon"),
        (".venv/bin/antiphon", True, "antiphon"),
        ("/site-packages/antiphon/cli/__main__.py", False, "antiphon"),
    ],
)
def test_the_command_is_one_that_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, called: str, *, is_found: bool, command: str
) -> None:
    monkeypatch.setattr(sys, "argv", [called, "up"])
    monkeypatch.setenv("PATH", str(tmp_path))
    if is_found:
        (tmp_path / "antiphon").touch(mode=0o755)
    lines = [line.split()[0] for line in shown("espeak").splitlines() if "antiphon " in line]
    assert lines == 3 * [command]
