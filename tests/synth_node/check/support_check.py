"""Checks an engine as `antiphon check-engine` does, within the test's process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from synth_node.check.finding import Finding, Verdict
from synth_node.check.printed import Printed, collected
from synth_node.check.run import run
from synth_node.check.wish import Wish
from synth_node.config import SynthSettings

ENGINES: Final = Path(__file__).parents[2] / "engines"
DEFECTS: Final = ENGINES / "defects.py"
DEFECTIVE_AUDIO: Final = ENGINES / "defective_audio.py"
TEXT: Final = "Good morning to you all."


class Checked:
    """What was found. findings: in order."""

    def __init__(self, findings: list[Finding], printed: Printed) -> None:
        self.findings = findings
        self.printed = printed

    def __getitem__(self, check: str) -> Finding:
        """Return the worst finding of a check."""
        found = [finding for finding in self.findings if finding.check == check]
        assert found, f"nothing about {check} in {self.findings}"
        return max(found, key=lambda finding: finding.verdict)

    def with_verdict(self, verdict: Verdict) -> list[str]:
        """Return the checks with a verdict, each once."""
        return list(dict.fromkeys(found.check for found in self.findings if found.verdict is verdict))

    @property
    def problems(self) -> list[str]:
        """The checks that found a problem."""
        return self.with_verdict(Verdict.PROBLEM)

    @property
    def warnings(self) -> list[str]:
        """The checks that found something to be told."""
        return self.with_verdict(Verdict.WARNING)


async def check(
    attribute: str,
    *,
    texts: tuple[str, ...] = (TEXT,),
    utterances: int = 4,
    timeout_s: float = 30.0,
    **settings: Any,
) -> Checked:
    """Check an engine with a defect, or another one that is named as a node names it."""
    engine = attribute if ":" in attribute or attribute in ("espeak", "tone") else _defect(attribute)
    findings: list[Finding] = []
    with collected() as printed:
        wish = Wish(texts, utterances, timeout_s)
        await run(SynthSettings(engine=engine, **settings), None, wish, printed, findings.append)
    return Checked(findings, printed)


def _defect(name: str) -> str:
    """Return what a node calls the engine of that name, in whichever of the two files it is."""
    defined = re.search(rf"^def {name}\b", DEFECTIVE_AUDIO.read_text(), re.MULTILINE)
    file = DEFECTS if defined is None else DEFECTIVE_AUDIO
    return f"{file}:{name}"
