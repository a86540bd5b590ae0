"""What a check finds: a verdict, what was measured, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

Measured = Mapping[str, float | int | str | bool | None]


class Verdict(IntEnum):
    """How bad it is; the highest of all findings decides on the exit status."""

    OK = 0
    WARNING = 1
    PROBLEM = 2


PROBLEMS: Final = 1
UNUSABLE: Final = 2
"""Exit status of an engine that cannot be loaded at all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report.

    check: what was looked at. value: what was found, a few words. advice: what to do, or what follows from
    it, one sentence. measured: the numbers, for machines; a name carries its unit.
    """

    check: str
    verdict: Verdict
    value: str
    advice: str = ""
    measured: Measured | None = None


def ok(check: str, value: str, advice: str = "", measured: Measured | None = None) -> Finding:
    """Return a finding that is as it should be."""
    return Finding(check, Verdict.OK, value, advice, measured)


def warning(check: str, value: str, advice: str, measured: Measured | None = None) -> Finding:
    """Return a finding that its author should know of."""
    return Finding(check, Verdict.WARNING, value, advice, measured)


def problem(check: str, value: str, advice: str, measured: Measured | None = None) -> Finding:
    """Return a finding with which the engine should not join."""
    return Finding(check, Verdict.PROBLEM, value, advice, measured)


def exit_status(findings: Iterable[Finding]) -> int:
    """Return 0 if there is no problem; warnings are allowed."""
    worst = max((finding.verdict for finding in findings), default=Verdict.OK)
    return PROBLEMS if worst is Verdict.PROBLEM else 0
