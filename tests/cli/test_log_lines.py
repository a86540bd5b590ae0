"""Log lines made readable."""

from __future__ import annotations

import pytest

from antiphon.cli.log_lines import of_nats, of_service


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('{"event": "ready", "level": "info", "timestamp": "2026-01-01", "slots": 2}', "ready slots=2"),
        ('{"event": "slow", "level": "warning", "s": 0.123456}', "warning: slow s=0.1235"),
        ('{"event": "x", "a": "two words", "b": "one", "c": null}', 'x a="two words" b=one c=null'),
        ('{"event": "x", "level": "error", "exception": "Traceback"}', "error: x\nTraceback"),
        ('{"no": "event"}', '{"no": "event"}'),
        ("[1, 2]", "[1, 2]"),
        ("printed by an engine", "printed by an engine"),
        ("", None),
    ],
)
def test_a_line_of_a_service(line: str, shown: str | None) -> None:
    assert of_service(line) == shown


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("[17] [INF] Server is ready", None),
        ("[17] [WRN] Slow consumer", "Slow consumer"),
        ("[17] [FTL] Error listening", "Error listening"),
        ("nats-server: open x.conf: no such file", "nats-server: open x.conf: no such file"),
        ("", None),
    ],
)
def test_a_line_of_nats_server(line: str, shown: str | None) -> None:
    assert of_nats(line) == shown
