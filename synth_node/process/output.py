"""What an engine prints, line by line into the node's log, and never more than the node can bear."""

from __future__ import annotations

import asyncio
from typing import Final

from structlog.typing import FilteringBoundLogger

MAX_LINE_BYTES: Final = 2000
MAX_LINES: Final = 200
"""Within WINDOW_S; what is more is counted, and left out."""
WINDOW_S: Final = 1.0


class EngineOutput(asyncio.Protocol):
    """Reads a pipe that the engine and all of its helpers write to; it never makes them wait."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._line = b""
        self._window: asyncio.TimerHandle | None = None
        self._n_lines = 0
        self._n_left_out = 0

    def data_received(self, data: bytes) -> None:
        """Log the lines that are complete; a very long one is cut, and its rest is not kept."""
        *lines, rest = (self._line + data).split(b"\n")
        self._line = _shown(rest)
        if len(self._line) > MAX_LINE_BYTES:
            lines.append(self._line)
            self._line = b""
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(WINDOW_S, self._end_window)
        room = MAX_LINES - self._n_lines
        for line in lines[:room]:
            self._print(line)
        self._n_left_out += len(lines[room:])
        self._n_lines += len(lines[:room])

    def connection_lost(self, exc: Exception | None) -> None:
        """Log what is left."""
        self._print(self._line)
        if self._window is not None:
            self._window.cancel()
            self._end_window()

    def _end_window(self) -> None:
        if self._n_left_out:
            self._log.warning("engine output left out", lines=self._n_left_out)
        self._window = None
        self._n_lines = self._n_left_out = 0

    def _print(self, line: bytes) -> None:
        text = _shown(line)[:MAX_LINE_BYTES].decode(errors="replace").rstrip()
        if text:
            self._log.info("engine output", line=text)


def _shown(line: bytes) -> bytes:
    """Return what a terminal would show: of a progress bar the last state, and what is written over it."""
    return line[line.rstrip(b"\r").rfind(b"\r") + 1 :]
