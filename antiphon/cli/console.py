"""What `antiphon up` prints: one line per event, with the name of the process it comes from."""

from __future__ import annotations

import os
import sys
import time
from typing import Final, TextIO

import click

_COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue", "bright_cyan", "bright_green")
_WIDTH: Final = 8  # "antiphon", "node-10"


class Console:
    """Prints lines with time and name before them; in colour on a terminal only (and not with NO_COLOR)."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        self._colour = self._out.isatty() and "NO_COLOR" not in os.environ
        self._names: list[str] = []

    def line(self, name: str, text: str) -> None:
        """Print one line that process `name` wrote, or that is about it."""
        if name not in self._names:
            self._names.append(name)
        prefix = f"{time.strftime('%H:%M:%S')} {name:<{_WIDTH}} |"
        if self._colour:
            prefix = click.style(prefix, fg=_COLOURS[self._names.index(name) % len(_COLOURS)])
        self.block(f"{prefix} {text}")

    def block(self, text: str) -> None:
        """Print a text of our own as it is."""
        try:
            click.echo(text, file=self._out, color=self._colour)
        except OSError:
            # The reader has gone (`antiphon up | head`); the service itself is still wanted.
            self._out = open(os.devnull, "w")  # noqa: SIM115
