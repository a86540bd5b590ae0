"""`antiphon up`: NATS, nodes and the gateway as processes on this machine."""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from antiphon.cli import log_lines, nats_server, reach
from antiphon.cli.banner import banner
from antiphon.cli.console import Console
from antiphon.cli.nats_server import NatsServer
from antiphon.cli.supervisor import Program, Supervisor, supervision

_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NATS_LISTENS_S: Final = 10.0
_NATS_GRACE_S: Final = 5.0
_GRACE_MARGIN_S: Final = 5.0  # a program ends by itself within its own grace; we kill only after that
_DEFAULT_GRACE_S: Final = 20.0
_PROBE_EVERY_S: Final = 0.05
_SLOW_START_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to start. nats_url: the server to use; "" brings one along. Its ports may be -1: any."""

    nodes: int
    slots: int
    engine: str
    model: str | None
    host: str
    port: int
    nats_url: str
    nats_host: str
    nats_port: int
    monitor_port: int
    token: str | None
    start_timeout_s: float

    @property
    def gateway_url(self) -> str:
        """Where a client on this machine finds the gateway."""
        return f"http://{nats_server.bracketed(nats_server.reachable(self.host))}:{self.port}"


@click.command("up")
@click.option("--nodes", type=click.IntRange(0), default=2, show_default=True, help="Synthesis nodes.")
@click.option(
    "--slots", type=click.IntRange(1), default=1, show_default=True, envvar="SYNTH_SLOTS",
    help="Utterances that one node makes at once.",
)  # fmt: skip
@click.option(
    "--engine", default="espeak", show_default=True, envvar="SYNTH_ENGINE",
    help="espeak, tone, module:attribute or path.py:attribute.",
)  # fmt: skip
@click.option("--model", envvar="SYNTH_MODEL", help="Name of the model; without it the engine's own name.")
@click.option("--host", default="127.0.0.1", show_default=True, envvar="GATEWAY_HOST", help="HTTP address.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, envvar="GATEWAY_PORT",
    help="HTTP port; 0 takes a free one.",
)  # fmt: skip
@click.option("--nats", "nats_url", default="", envvar="NATS_URL", help="Use this NATS server, start none.")
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
    engine: str,
    model: str | None,
    host: str,
    port: int,
    nats_url: str,
    nats_host: str | None,
    nats_port: int | None,
    nats_token: str | None,
    start_timeout: float,
) -> None:
    """Start NATS, synthesis nodes and the gateway on this machine; Ctrl-C drains and stops all of it.

    \b
    antiphon up                                      two nodes with espeak, http://127.0.0.1:8080
    antiphon up --engine my_model.py:tts_api         your own function
    antiphon up --nats-host 0.0.0.0 --nats-port 4222 open to nodes on other machines
    """
    if nats_url and (nats_host or nats_port is not None):
        if click.get_current_context().get_parameter_source("nats_url") is ParameterSource.COMMANDLINE:
            raise click.UsageError("--nats uses a server that runs; --nats-host and --nats-port start one.")
        nats_url = ""  # NATS_URL is in the environment, but a server of our own was asked for
    nats_server.check_port(host, port, "The gateway")
    if nats_url:
        reach.check(nats_url)
    else:
        nats_server.binary()  # raises if there is none
    listen = nats_host or "127.0.0.1"
    plan = Plan(
        nodes=nodes,
        slots=slots,
        engine=engine,
        model=model,
        host=host,
        port=port or _free_port(host),
        nats_url=nats_url,
        nats_host=listen,
        nats_port=0 if nats_url else nats_server.choose_port(listen, nats_port, nats_server.DEFAULT_PORT),
        monitor_port=0 if nats_url else nats_server.choose_port("127.0.0.1", None, 8222),
        token=_token(listen, nats_token),
        start_timeout_s=start_timeout,
    )
    with tempfile.TemporaryDirectory(prefix="antiphon-") as directory:
        failure = asyncio.run(_run(plan, Path(directory), Console()))
    if failure is not None:
        raise click.ClickException(failure)


async def _run(plan: Plan, directory: Path, console: Console) -> str | None:
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
        failure = await _serve(plan, directory, console, supervisor, stop)
        if failure is not None:
            supervisor.at_once.set()  # nobody is being served
        else:
            console.line("antiphon", "stopping: what is being spoken is finished; Ctrl-C again stops at once")
    if failure is None:
        console.line("antiphon", "stopped")
    return failure


async def _serve(
    plan: Plan, directory: Path, console: Console, supervisor: Supervisor, stop: asyncio.Event
) -> str | None:
    """Start everything, wait until it speaks, tell how to use it, and wait for `stop` or a failure."""
    async with asyncio.TaskGroup() as tasks:
        start = tasks.create_task(_start(plan, directory, console, supervisor))
        ended = tasks.create_task(stop.wait())
        await asyncio.wait((start, ended, supervisor.failed), return_when=asyncio.FIRST_COMPLETED)
        if start.done() and start.result() is None:
            await asyncio.wait((ended, supervisor.failed), return_when=asyncio.FIRST_COMPLETED)
        start.cancel()
        ended.cancel()
    if supervisor.failed.done():
        return str(supervisor.failed.result())
    return None if start.cancelled() else start.result()


async def _start(plan: Plan, directory: Path, console: Console, supervisor: Supervisor) -> str | None:
    """Start NATS, the nodes and the gateway. Return None when somebody can speak, else why nobody can."""
    nats_url, server = plan.nats_url, None
    if not nats_url:
        server = await _start_nats(plan, directory, supervisor)
        if server is None:
            return f"nats-server did not listen within {_NATS_LISTENS_S:g} s."
        nats_url = server.url()
    supervisor.start(*(_node(plan, nats_url, number) for number in range(1, plan.nodes + 1)))
    supervisor.start(_gateway(plan, nats_url))
    if not await _speaks(plan, console):
        waited = f"{plan.start_timeout_s:g} s"
        return f"Nobody could speak within {waited}; see the lines above, or raise --start-timeout."
    supervisor.settle()
    console.block(banner(plan, server, await _model(plan)))
    return None


async def _start_nats(plan: Plan, directory: Path, supervisor: Supervisor) -> NatsServer | None:
    """Start the embedded server; return it with its real ports, None if it does not listen in time."""
    server = NatsServer(plan.nats_host, plan.nats_port, plan.monitor_port, plan.token, directory)
    server.configure()
    program = Program("nats", server.command(), os.environ.copy(), _NATS_GRACE_S, log_lines.of_nats)
    (supervised,) = supervisor.start(program)
    try:
        async with asyncio.timeout(_NATS_LISTENS_S):
            await supervised.started.wait()
            server = await server.listening(supervised.pid or 0)
    except TimeoutError:
        return None
    server.configure()  # should it be started again, then on the same ports
    return server


def _node(plan: Plan, nats_url: str, number: int) -> Program:
    name = f"node-{number}"
    environment = _environment(nats_url) | {
        "SYNTH_NODE": name,
        "SYNTH_ENGINE": plan.engine,
        "SYNTH_SLOTS": str(plan.slots),
    }
    environment.pop("SYNTH_STATE_FILE", None)  # of one node, not of several
    if plan.model:
        environment["SYNTH_MODEL"] = plan.model
    return Program(
        name,
        (sys.executable, "-m", "synth_node"),
        environment,
        _grace_s("SYNTH_GRACE_S"),
        log_lines.of_service,
    )


def _gateway(plan: Plan, nats_url: str) -> Program:
    environment = _environment(nats_url) | {"GATEWAY_HOST": plan.host, "GATEWAY_PORT": str(plan.port)}
    return Program(
        "gateway",
        (sys.executable, "-m", "gateway"),
        environment,
        _grace_s("GATEWAY_GRACE_S"),
        log_lines.of_service,
    )


def _environment(nats_url: str) -> dict[str, str]:
    """Return our environment for a child, with the address and the credentials of NATS."""
    return {"PYTHONUNBUFFERED": "1", **os.environ, "NATS_URL": nats_url}


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
    answer = await reach.http_get(nats_server.reachable(plan.host), plan.port, "/check_tts_status")
    try:
        return plan.model or next(iter(json.loads(answer[1])["models"])) if answer else "MODEL"
    except (ValueError, KeyError, StopIteration):
        return plan.model or "MODEL"


def _token(host: str, given: str | None) -> str | None:
    """Return the token that the server asks for; on loopback it needs none."""
    if given is not None:
        if not re.fullmatch(r"[A-Za-z0-9._~-]+", given):
            raise click.ClickException("A NATS token may hold letters, digits and . _ ~ - only.")
        return given
    return None if nats_server.is_loopback(host) else secrets.token_urlsafe(24)


def _free_port(host: str) -> int:
    """Return a port on which nobody listens now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
