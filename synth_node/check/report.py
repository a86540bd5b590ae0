"""What `antiphon check-engine` prints: a table for people, or JSON for machines."""

from __future__ import annotations

import json
import os
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from synth_node.check.batches import BATCHES
from synth_node.check.finding import UNUSABLE, Finding, Verdict, exit_status

_COLOURS: Final = {Verdict.OK: 32, Verdict.WARNING: 33, Verdict.PROBLEM: 31}
_CHECK_WIDTH: Final = 15
_INDENT: Final = " " * (8 + 1 + _CHECK_WIDTH + 1)
_WIDTH: Final = 110
_PRINTED_LINES: Final = 20


class Table:
    """Prints findings as they come, each with what to do; in colour on a terminal only.

    python: the interpreter of its environment, as given by an option, which a node takes from a variable.
    """

    def __init__(self, out: TextIO, engine: str, *, python: str | None = None) -> None:
        self._out = out
        self._colour = out.isatty() and "NO_COLOR" not in os.environ
        self._engine = engine
        self._python = python
        self._findings: list[Finding] = []
        self._write(f"Checking {engine}\n\n")

    def tell(self, finding: Finding) -> None:
        """Print one finding."""
        self._findings.append(finding)
        verdict = f"{finding.verdict.name:<8}"
        if self._colour:
            verdict = f"\x1b[{_COLOURS[finding.verdict]}m{verdict}\x1b[0m"
        value, *more = textwrap.wrap(finding.value, _WIDTH - len(_INDENT)) or [""]
        advice = textwrap.wrap(finding.advice, _WIDTH - len(_INDENT))
        lines = [
            f"{verdict} {finding.check:<{_CHECK_WIDTH}} {value}",
            *(_INDENT + line for line in (*more, *advice)),
        ]
        self._write("".join(f"{line}\n" for line in lines))

    def end(self, printed: Sequence[str]) -> None:
        """Print what it comes to, and the end of what the engine printed if something is wrong."""
        n_problems, n_warnings = (
            sum(finding.verdict is verdict for finding in self._findings)
            for verdict in (Verdict.PROBLEM, Verdict.WARNING)
        )
        if n_problems:
            self._write(printed_lines(printed))
        counts = f"{_counted(n_problems, 'problem')}, {_counted(n_warnings, 'warning')}.".capitalize()
        goes_on = "" if n_problems else f" It can join: {self._joins()}"
        self._write(f"\n{counts}{goes_on}\n")

    def _joins(self) -> str:
        """Return the command that has it join, in batches if it can make them."""
        variables = f"SYNTH_PYTHON={shlex.quote(self._python)} " if self._python else ""
        engine = shlex.quote(self._engine)
        if any(finding.check == BATCHES for finding in self._findings):
            return f"{variables}SYNTH_PROCESSES=1 antiphon node --slots 8 --engine {engine}"
        return f"{variables}antiphon node --engine {engine}"

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except BrokenPipeError:
            # The reader has gone (`| head`); the exit status is still wanted, without complaint.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._out.fileno())


def printed_lines(printed: Sequence[str]) -> str:
    """Return the end of what the engine printed, for people."""
    if not printed:
        return ""
    last = list(printed)[-_PRINTED_LINES:]
    head = (
        "The engine printed" if len(last) == len(printed) else f"The last {len(last)} lines that it printed"
    )
    return f"\n{head}:\n" + "".join(f"    {line}\n" for line in last)


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' * (number != 1)}"


def report(engine: str, findings: Iterable[Finding], printed: Sequence[str]) -> str:
    """Return everything as one JSON object."""
    findings = list(findings)
    return _object(
        engine=engine,
        status=exit_status(findings),
        findings=[
            {
                "check": finding.check,
                "verdict": finding.verdict.name.lower(),
                "value": finding.value,
                "advice": finding.advice,
                "measured": dict(finding.measured or {}),
            }
            for finding in findings
        ],
        printed=list(printed),
    )


def unusable(engine: str, why: str, printed: Sequence[str]) -> str:
    """Return the JSON object of an engine that cannot be loaded."""
    return _object(engine=engine, status=UNUSABLE, error=why, findings=[], printed=list(printed))


def _object(**values: object) -> str:
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"
