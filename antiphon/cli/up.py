"""`antiphon up`: NATS, nodes and the gateway as processes on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from antiphon.cli import environment, log_lines, nats_server, ports, reach
from antiphon.cli.banner import banner
from antiphon.cli.console import Console
from antiphon.cli.engines import DEFAULT_ENGINE, Engine, engines_of
from antiphon.cli.environment import Nats
from antiphon.cli.nats_server import NatsServer
from antiphon.cli.supervisor import Program, Supervisor, supervision

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A program ends by itself; we kill only after that. When its grace is over a node still gives a second to the
# runs it stops, one to the audio that is on its way, six to the engines' end and two to its last messages.
_GRACE_MARGIN_S: Final = 15.0
_DEFAULT_GRACE_S: Final = 20.0
_PROBE_EVERY_S: Final = 0.05
_SLOW_START_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start.

    nodes: of each engine. engines: the first one is the default model of the gateway. server: to bring along;
    None uses the one that `nats` names.
    """

    nodes: int
    slots: int
    engines: tuple[Engine, ...]
    host: str
    port: int
    nats: Nats
    server: NatsServer | None
    start_timeout_s: float

    @property
    def gateway_url(self) -> str:
        """Where a client on this machine finds the gateway."""
        return f"http://{nats_server.bracketed(nats_server.reachable(self.host))}:{self.port}"


@click.command("up")
@click.option("--nodes", type=click.IntRange(0), default=2, show_default=True, help="Nodes of each engine.")
@click.option(
    "--slots", type=click.IntRange(1), default=1, show_default=True, envvar="SYNTH_SLOTS",
    help="Utterances that one node makes at once.",
)  # fmt: skip
@click.option(
    "--engine", "engines", multiple=True, show_default=f"SYNTH_ENGINE, else {DEFAULT_ENGINE}",
    help="espeak, piper, command, openai, xunfei, tone, module:attribute or path.py:attribute; "
    "several times for several models, which all get the same SYNTH_* variables.",
)  # fmt: skip
@click.option(
    "--model", "models", multiple=True, show_default="SYNTH_MODEL, else the engine's own name",
    help="Name of the model; once for each engine, in the same order.",
)  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, envvar="GATEWAY_HOST", help="HTTP address.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, envvar="GATEWAY_PORT",
    help="HTTP port; 0 takes a free one.",
)  # fmt: skip
@click.option(
    "--nats", "nats_url", show_default="NATS_URL_FILE, NATS_URL",
    help="Use this NATS server, start none; several are separated by commas.",
)  # fmt: skip
@click.option(
    "--nats-host", help="Address of the NATS server that is started; 0.0.0.0 opens it to other machines."
)
@click.option("--nats-port", type=click.IntRange(0, 65535), help="Its port; without it 4222, or a free one.")
@click.option(
    "--nats-token", envvar="ANTIPHON_NATS_TOKEN",
    help="Token that it asks for; made if it is open to other machines and none is given.",
)  # fmt: skip
@click.option(
    "--start-timeout", type=click.FloatRange(0, min_open=True), default=120.0, show_default=True,
    help="Give up when nobody can speak after so many seconds.",
)  # fmt: skip
def command(
    nodes: int,
    slots: int,
    engines: tuple[str, ...],
    models: tuple[str, ...],
    host: str,
    port: int,
    nats_url: str | None,
    nats_host: str | None,
    nats_port: int | None,
    nats_token: str | None,
    start_timeout: float,
) -> None:
    """Start NATS, synthesis nodes and the gateway on this machine; Ctrl-C drains and stops all of it.

    \b
    antiphon up                                      two nodes with espeak, http://127.0.0.1:8080
    antiphon up --engine my_model.py:tts_api         your own function
    antiphon up --engine espeak --engine my_model.py:tts_api   two models; requests name one, or get the first
    antiphon up --nats-host 0.0.0.0 --nats-port 4222 open to nodes on other machines
    """
    own = nats_host is not None or nats_port is not None
    if own and nats_url is not None:
        raise click.UsageError("--nats uses a server that runs; --nats-host and --nats-port start one.")
    chosen = engines_of(engines, models)
    ports.check(host, port, "The gateway")
    nats = None if own else environment.nats_found(nats_url)
    if nats is not None:
        reach.check(nats)
    else:
        nats_server.binary()  # raises if there is none
    with tempfile.TemporaryDirectory(prefix="antiphon-") as directory, ports.kept(host, port) as http_port:
        server = None
        if nats is None:
            listen = nats_host or "127.0.0.1"
            server = nats_server.planned(listen, nats_port, _token(listen, nats_token), Path(directory))
        plan = Plan(
            nodes=nodes,
            slots=slots,
            engines=chosen,
            host=host,
            port=http_port,
            nats=nats or environment.nats_at(""),
            server=server,
            start_timeout_s=start_timeout,
        )
        failure = asyncio.run(_run(plan, Console()))
    if failure is not None:
        raise click.ClickException(failure)


async def _run(plan: Plan, console: Console) -> str | None:
    """Run everything until a signal. Return None, or why it could not be started, in one sentence."""
    stop = asyncio.Event()
    async with supervision(console) as supervisor:

        def on_signal() -> None:
            if stop.is_set():
                supervisor.at_once.set()
            stop.set()

        loop = asyncio.get_running_loop()
        for signum in _STOP_SIGNALS:
            loop.add_signal_handler(signum, on_signal)
        failure = await _serve(plan, console, supervisor, stop)
        if failure is not None:
            supervisor.at_once.set()  # nobody is being served
        else:
            console.line("antiphon", "stopping: what is being spoken is finished; Ctrl-C again stops at once")
    if failure is None:
        console.line("antiphon", "stopped")
    return failure


async def _serve(plan: Plan, console: Console, supervisor: Supervisor, stop: asyncio.Event) -> str | None:
    """Start everything, wait until it speaks, tell how to use it, and wait for `stop` or a failure."""
    async with asyncio.TaskGroup() as tasks:
        start = tasks.create_task(_start(plan, console, supervisor))
        ended = tasks.create_task(stop.wait())
        await asyncio.wait((start, ended, supervisor.failed), return_when=asyncio.FIRST_COMPLETED)
        if start.done() and start.result() is None:
            await asyncio.wait((ended, supervisor.failed), return_when=asyncio.FIRST_COMPLETED)
        start.cancel()
        ended.cancel()
    if supervisor.failed.done():
        return str(supervisor.failed.result())
    return None if start.cancelled() else start.result()


async def _start(plan: Plan, console: Console, supervisor: Supervisor) -> str | None:
    """Start NATS, the nodes and the gateway. Return None when somebody can speak, else why nobody can."""
    nats, server = plan.nats, plan.server
    if server is not None:
        server = await nats_server.start(server, supervisor)
        if server is None:
            return f"nats-server did not listen within {nats_server.LISTENS_S:g} s."
        nats = replace(nats, urls=server.url())
    engines = [engine for engine in plan.engines for _ in range(plan.nodes)]
    supervisor.start(*(_node(plan, nats, engine, number) for number, engine in enumerate(engines, 1)))
    supervisor.start(_gateway(plan, nats))
    if not await _speaks(plan, console):
        waited = f"{plan.start_timeout_s:g} s"
        return f"Nobody could speak within {waited}; see the lines above, or raise --start-timeout."
    supervisor.settle()
    console.block(banner(plan, nats, server, await _model(plan)))
    return None


def _node(plan: Plan, nats: Nats, engine: Engine, number: int) -> Program:
    name = f"node-{number}"
    variables = _environment(nats) | {
        "SYNTH_NODE": name,
        "SYNTH_ENGINE": engine.name,
        "SYNTH_MODEL": engine.model,
        "SYNTH_SLOTS": str(plan.slots),
    }
    variables.pop("SYNTH_STATE_FILE", None)  # of one node, not of several
    # What an engine can read, it can also tell: keys of the gateway are none of its business.
    variables = {key: value for key, value in variables.items() if not key.upper().startswith("GATEWAY_")}
    return Program(
        name,
        (sys.executable, "-m", "synth_node"),
        variables,
        _grace_s("SYNTH_GRACE_S"),
        log_lines.of_service,
    )


def _gateway(plan: Plan, nats: Nats) -> Program:
    variables = _environment(nats) | {"GATEWAY_HOST": plan.host, "GATEWAY_PORT": str(plan.port)}
    if plan.nodes and not variables.get("GATEWAY_MODEL"):
        variables["GATEWAY_MODEL"] = plan.engines[0].model  # whatever other models join, it stays so
    return Program(
        "gateway",
        (sys.executable, "-m", "gateway"),
        variables,
        _grace_s("GATEWAY_GRACE_S"),
        log_lines.of_service,
    )


def _environment(nats: Nats) -> dict[str, str]:
    """Return our environment for a child, with the address and the credentials of NATS."""
    return {"PYTHONUNBUFFERED": "1", **nats.environment()}


def _grace_s(variable: str) -> float:
    """Return how long the program of this setting may take to end, in seconds."""
    try:
        return float(os.environ[variable]) + _GRACE_MARGIN_S
    except (KeyError, ValueError):  # a bad value is the program's to complain about
        return _DEFAULT_GRACE_S + _GRACE_MARGIN_S


async def _speaks(plan: Plan, console: Console) -> bool:
    """Wait until the gateway says that somebody can speak; False when the time is over.

    Without nodes of our own it is enough that the gateway answers: nodes may join later.
    """
    path = "/readyz" if plan.nodes else "/healthz"
    loop = asyncio.get_running_loop()
    began = loop.time()
    told = False
    while loop.time() - began < plan.start_timeout_s:
        answer = await reach.http_get(nats_server.reachable(plan.host), plan.port, path)
        if answer is not None and answer[0] == 200:
            return True
        if not told and loop.time() - began > _SLOW_START_S:
            console.line("antiphon", "still waiting for a node that can speak (is a model being loaded?)")
            told = True
        await asyncio.sleep(_PROBE_EVERY_S)
    return False


async def _model(plan: Plan) -> str:
    """Return the name of a model that lives; a placeholder if there is none."""
    if plan.nodes:
        return plan.engines[0].model
    answer = await reach.http_get(nats_server.reachable(plan.host), plan.port, "/check_tts_status")
    try:
        return str(next(iter(json.loads(answer[1])["models"]))) if answer else "MODEL"
    except (ValueError, KeyError, StopIteration):
        return "MODEL"


def _token(host: str, given: str | None) -> str | None:
    """Return the token that the server asks for; on loopback it needs none."""
    if given is not None:
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", given):
            raise click.ClickException("A NATS token may hold letters, digits and . _ ~ - only.")
        return given
    return None if nats_server.is_loopback(host) else secrets.token_urlsafe(24)
