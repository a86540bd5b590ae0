"""The command `antiphon`: one module per command, imported only when its command runs."""

from __future__ import annotations

import logging
import sys
from importlib import import_module
from typing import Final

try:
    import click
except ModuleNotFoundError:  # the bare client is installed without the command's libraries
    sys.exit("antiphon: the command needs the extra: pip install 'antiphon[cli]'")

_COMMANDS: Final = {
    "up": "Start NATS, synthesis nodes and the gateway on this machine.",
    "node": "Join an existing NATS server with one synthesis node.",
    "say": "Speak a text over NATS and write the audio to a file.",
    "voices": "List the voices of all models.",
    "check-engine": "Tell what is wrong with an engine before it joins.",
}


class _LazyGroup(click.Group):
    """A group whose commands are modules of this package, each with a function `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f"antiphon.cli.{cmd_name.replace('-', '_')}").command
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="antiphon")
def main() -> None:
    """Turn any text-to-speech engine into one service that a group of machines answers."""
    # What the client library logs is for services; a command says in one sentence what went wrong.
    logging.getLogger("antiphon").addHandler(logging.NullHandler())
    # asyncio warns of the end of every TLS connection of nats-py.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
