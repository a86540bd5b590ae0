"""python -m synth_node.check ENGINE: what is wrong with an engine before it joins."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from typing import Final

import uvloop

from antiphon.process import first_of, stop_on_signals
from antiphon.settings import SettingsError, load
from synth_node.built_in import all_settings_classes, load_engine_settings
from synth_node.check.finding import UNUSABLE, Finding, exit_status
from synth_node.check.printed import Printed, collected
from synth_node.check.report import Table, printed_lines, report, unusable
from synth_node.check.run import run
from synth_node.check.wish import DEFAULT_TEXTS, DEFAULT_TIMEOUT_S, DEFAULT_UTTERANCES, Wish
from synth_node.config import SynthSettings
from synth_node.engine_settings import EngineSettings
from synth_node.host import EngineUnavailable

INTERRUPTED: Final = 130


def main() -> int:
    """Check the engine; return the exit status: 0 fine, 1 problems, 2 not usable, 130 interrupted."""
    options = _options()
    # The settings are those of a node, its own sentences about bad ones included.
    for name in ("engine", "python", "voice"):
        if (value := getattr(options, name)) is not None:
            os.environ[f"SYNTH_{name.upper()}"] = value
    wish = Wish(tuple(options.text or DEFAULT_TEXTS), options.utterances, options.timeout)
    with collected() as printed:
        try:
            settings = load(SynthSettings, *all_settings_classes())
            engine_settings = load_engine_settings(settings.engine)
            return _check(settings, engine_settings, wish, printed, python=options.python, json=options.json)
        except* (SettingsError, EngineUnavailable) as group:
            why = str(first_of(group))
            if options.json:
                sys.stdout.write(unusable(options.engine, why, list(printed.lines)))
            sys.stderr.write(f"{printed_lines(list(printed.lines)).lstrip()}{why}\n")
    return UNUSABLE


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="synth_node.check", description=__doc__)
    parser.add_argument("engine")
    parser.add_argument("--python")
    parser.add_argument("--voice")
    parser.add_argument("--text", action="append")
    parser.add_argument("--utterances", type=int, default=DEFAULT_UTTERANCES)
    parser.add_argument("--timeout", type=float, default=DEFAULT_TIMEOUT_S)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _check(
    settings: SynthSettings,
    engine_settings: EngineSettings | None,
    wish: Wish,
    printed: Printed,
    *,
    python: str | None,
    json: bool,
) -> int:
    findings: list[Finding] = []
    table = None if json else Table(sys.stdout, settings.engine, python=python)

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if table is not None:
            table.tell(finding)

    if not uvloop.run(_until_interrupted(settings, engine_settings, wish, printed, tell)):
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    if table is None:
        sys.stdout.write(report(settings.engine, findings, list(printed.lines)))
    else:
        table.end(list(printed.lines))
    return exit_status(findings)


async def _until_interrupted(
    settings: SynthSettings,
    engine_settings: EngineSettings | None,
    wish: Wish,
    printed: Printed,
    tell: Callable[[Finding], None],
) -> bool:
    """Return whether the check came to its end before a SIGINT or SIGTERM."""
    stop = stop_on_signals()
    async with asyncio.TaskGroup() as tasks:
        checking = tasks.create_task(run(settings, engine_settings, wish, printed, tell), name="check")
        stopped = tasks.create_task(stop.wait(), name="signals")
        await asyncio.wait({checking, stopped}, return_when=asyncio.FIRST_COMPLETED)
        is_complete = checking.done()
        checking.cancel()
        stopped.cancel()
    return is_complete


if __name__ == "__main__":
    sys.exit(main())
