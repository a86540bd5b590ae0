"""What is printed for people and for machines."""

from __future__ import annotations

import io
import json

import pytest

from synth_node.check.finding import Finding, ok, problem, warning
from synth_node.check.report import Table, report, unusable

FINDINGS = [
    ok("form", "function; takes the text", measured={"sample_rate": 8000}),
    warning("memory", "20 MiB", "It may leak.", {"growth_bytes": 70_000}),
    problem("speech", "RuntimeError: no weights", "Look. " * 30),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def table(findings: list[Finding], printed: list[str], out: io.StringIO) -> str:
    shown = Table(out, "my.py:tts_api")
    for finding in findings:
        shown.tell(finding)
    shown.end(printed)
    return out.getvalue()


def test_the_table_has_a_line_for_each_finding_and_says_what_to_do() -> None:
    lines = table(FINDINGS, ["a", "b"], io.StringIO()).splitlines()
    assert lines[:5] == [
        "Checking my.py:tts_api",
        "",
        "OK       form            function; takes the text",
        "WARNING  memory          20 MiB",
        "                         It may leak.",
    ]
    assert lines[5] == "PROBLEM  speech          RuntimeError: no weights"
    assert max(map(len, lines)) <= 110
    assert lines[-5:] == ["The engine printed:", "    a", "    b", "", "1 problem, 1 warning."]


def test_an_engine_without_problems_is_told_how_to_join() -> None:
    shown = table(FINDINGS[:2], ["a"], io.StringIO())
    assert shown.endswith("\nNo problems, 1 warning. It can join: antiphon node --engine my.py:tts_api\n")
    assert "printed" not in shown


def test_an_interpreter_that_was_an_option_is_a_variable_of_the_node() -> None:
    out = io.StringIO()
    Table(out, "my models/a.py:tts_api", python="its/python").end([])
    assert out.getvalue().endswith(
        " It can join: SYNTH_PYTHON=its/python antiphon node --engine 'my models/a.py:tts_api'\n"
    )


def test_an_engine_of_batches_is_told_how_to_join_with_them() -> None:
    shown = table([ok("batches", "3 at once")], [], io.StringIO())
    assert shown.endswith(" It can join: SYNTH_PROCESSES=1 antiphon node --slots 8 --engine my.py:tts_api\n")


def test_of_what_it_printed_the_end_is_shown() -> None:
    shown = table(FINDINGS, [f"line {n}" for n in range(100)], io.StringIO())
    assert "The last 20 lines that it printed:\n    line 80\n" in shown
    assert "line 79" not in shown


def test_colour_is_for_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = table(FINDINGS, [], Terminal())
    assert "\x1b[31mPROBLEM \x1b[0m speech" in coloured
    assert "\x1b" not in table(FINDINGS, [], io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in table(FINDINGS, [], Terminal())


def test_machines_get_the_same_as_one_object() -> None:
    told = json.loads(report("my.py:tts_api", FINDINGS, ["a"]))
    assert (told["engine"], told["status"], told["printed"]) == ("my.py:tts_api", 1, ["a"])
    assert [found["verdict"] for found in told["findings"]] == ["ok", "warning", "problem"]
    assert told["findings"][1] == {
        "check": "memory",
        "verdict": "warning",
        "value": "20 MiB",
        "advice": "It may leak.",
        "measured": {"growth_bytes": 70_000},
    }
    assert json.loads(report("x", FINDINGS[:2], []))["status"] == 0
    broken = json.loads(unusable("x", "there is no file x.py", []))
    assert (broken["status"], broken["error"], broken["findings"]) == (2, "there is no file x.py", [])
