"""`antiphon check-engine`: what is wrong with an engine before it joins a group."""

from __future__ import annotations

import os
import sys

import click


@click.command("check-engine")
@click.argument("engine")
@click.option(
    "--python", metavar="PATH", show_default="SYNTH_PYTHON, else our own",
    help="Interpreter of the environment that the engine lives in.",
)  # fmt: skip
@click.option(
    "--voice", show_default="SYNTH_VOICE, else the engine's own", help="Voice where no other one is tried."
)
@click.option(
    "--text", "texts", multiple=True, metavar="TEXT",
    help="A sentence to speak; may be given several times.  [default: two in English]",
)  # fmt: skip
@click.option(
    "--utterances", type=click.IntRange(1), default=10, show_default=True,
    help="How many to measure with; each text is spoken twice at least.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), default=300.0, show_default=True,
    help="End after so many seconds; what was not checked by then is listed.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines instead of a table.")
def command(
    engine: str,
    python: str | None,
    voice: str | None,
    texts: tuple[str, ...],
    utterances: int,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Run ENGINE as a node would, and tell what is wrong with it.

    ENGINE is module:attribute, path.py:attribute, or the name of a built-in engine, whose SYNTH_* settings
    are heeded. No NATS is needed. The exit status is 0 if there are no problems (warnings are allowed), 1 if
    there are, and 2 if the engine cannot be loaded.

    \b
    antiphon check-engine my_model.py:tts_api
    antiphon check-engine my_model.py:tts_api --text "Guten Tag." --utterances 100
    """
    if any(not text.strip() for text in texts):
        raise click.BadParameter("there is nothing to speak in it", param_hint="--text")
    options = {"--python": python, "--voice": voice}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    given += [f"--text={text}" for text in texts]
    given += [f"--utterances={utterances}", f"--timeout={timeout_s}", *["--json"] * as_json]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "synth_node.check", *given, "--", engine])
