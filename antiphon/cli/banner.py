"""What `antiphon up` tells when it is ready: where everything is, and what to try first."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
from typing import TYPE_CHECKING, Final

from antiphon.cli import nats_server
from antiphon.cli.engines import DEFAULT_ENGINE
from antiphon.subjects import model_name

if TYPE_CHECKING:
    from antiphon.cli.environment import Nats
    from antiphon.cli.nats_server import NatsServer
    from antiphon.cli.up import Plan

_RULE: Final = "-" * 78


def banner(plan: Plan, nats: Nats, server: NatsServer | None, model: str) -> str:
    """Return the text.

    nats: the server in use. server: the same if it was brought along, None for one that ran before.
    model: one that lives.
    """
    if nats.urls == f"nats://127.0.0.1:{nats_server.DEFAULT_PORT}":
        say_option = req_option = where = ""
    elif nats.shown == nats.urls:
        say_option, req_option, where = f" --nats {nats.urls}", f" -s {nats.urls}", ""
    else:
        # Credentials are shown once at most, where they are needed: in the line that adds a node.
        say_option, req_option, where = " --nats URL", " -s URL", " (URL: with its credentials)"
    n_nodes = plan.nodes * len(plan.engines)
    nodes = f"{n_nodes} node{'s' * (n_nodes != 1)} x {plan.slots} slot{'s' * (plan.slots != 1)}"
    engines = f"engine{'s' * (len(plan.engines) != 1)} {', '.join(engine.name for engine in plan.engines)}"
    command = _command()
    say_model = f" --model {model}" * (len(plan.engines) > 1)
    lines = [
        _RULE,
        f"Antiphon speaks: {nodes}, {engines}",
        "",
        f"  HTTP    {plan.gateway_url}",
        f"  OpenAI  {plan.gateway_url}/v1",
        f"  NATS    {nats.shown}",
        *([f"  monitor http://127.0.0.1:{server.monitor_port}"] if server else []),
        "",
        "Hear it:",
        f"  curl -s -X POST {plan.gateway_url}/tts -H 'Content-Type: application/json' \\",
        *(["       -H 'Authorization: Bearer KEY' \\"] if _needs_key() else []),
        '       -d \'{"text":"hello"}\' -o hello.mp3',
        f"The same over NATS{where}:",
        f'  {command} say "hello" -o hello.mp3{say_model}{say_option}',
        f'  nats req {nats.subjects.root}.synth.{model} "hello" --raw{req_option} > hello.mp3',
        f"Models and voices{where}:",
        f"  {command} voices{say_option}",
        "Add a node:",
        f"  {command} node --nats {_for_a_node(server) if server else nats.shown}{_engine(plan)}",
        "",
        "Ctrl-C stops all of it.",
        _RULE,
    ]
    return "\n".join(lines)


def _command() -> str:
    """Return what to type for `antiphon`: in a virtual environment that is not activated, its path."""
    called = sys.argv[0]
    return called if os.path.basename(called) == "antiphon" and not shutil.which("antiphon") else "antiphon"


def _engine(plan: Plan) -> str:
    """Return the options with which another node speaks with the first engine of ours, too."""
    first = plan.engines[0]
    if not plan.nodes or first.name == DEFAULT_ENGINE:
        return ""
    model = f" --model {first.model}" * (first.model != model_name(first.name))
    return f" --engine {shlex.quote(first.name)}{model}"


def _needs_key() -> bool:
    return any(os.environ.get(name) for name in ("GATEWAY_API_KEYS", "GATEWAY_API_KEYS_FILE"))


def _for_a_node(server: NatsServer) -> str:
    """Return the URL to paste on another machine, or on this one if no other reaches the server."""
    if nats_server.is_loopback(server.host):
        return server.url()
    everywhere = server.host in ("0.0.0.0", "::")
    return server.url(_own_address() if everywhere else server.host)


def _own_address() -> str:
    """Return the address that other machines know us by, as far as the routing table tells."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
