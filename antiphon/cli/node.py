"""`antiphon node`: one synthesis node that joins a NATS server."""

from __future__ import annotations

import os
import sys

import click

from antiphon.cli import environment, reach


@click.command("node")
@click.option(
    "--nats", "nats_url", show_default=f"NATS_URL_FILE, NATS_URL, else {environment.DEFAULT_SERVER}",
    help="The server to join; several are separated by commas.",
)  # fmt: skip
@click.option(
    "--engine", default="espeak", show_default=True, envvar="SYNTH_ENGINE",
    help="espeak, piper, command, openai, xunfei, tone, module:attribute or path.py:attribute.",
)  # fmt: skip
@click.option("--model", envvar="SYNTH_MODEL", help="Name of the model; without it the engine's own name.")
@click.option(
    "--slots", type=click.IntRange(1), default=1, show_default=True, envvar="SYNTH_SLOTS",
    help="Utterances that the node makes at once.",
)  # fmt: skip
@click.option("--name", envvar="SYNTH_NODE", help="Name that people see; without it one that is unique.")
def command(nats_url: str | None, engine: str, model: str | None, slots: int, name: str | None) -> None:
    """Join a NATS server with one synthesis node; Ctrl-C finishes what is being spoken and leaves.

    A URL with credentials is better put into NATS_URL: everyone on the machine can read a command line.
    """
    nats = environment.nats_found(nats_url) or environment.nats_at(environment.DEFAULT_SERVER)
    reach.check(nats)
    variables = {**nats.environment(), "SYNTH_ENGINE": engine, "SYNTH_SLOTS": str(slots)}
    if model:
        variables["SYNTH_MODEL"] = model
    if name:
        variables["SYNTH_NODE"] = name
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-m", "synth_node"], variables)
