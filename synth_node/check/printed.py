"""What the engine prints while it is checked."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

import structlog

_KEPT_LINES: Final = 200
_FAILED_BATCH: Final = re.compile(r"(\w+ in a batch(?: of \d+|, behind an end)); most recent call last:")
"""Source: synth_node/engines/failure.py and batch.py."""


class Printed:
    """The lines that the engine printed: their number, and the last of them."""

    def __init__(self) -> None:
        self.n_lines = 0
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.not_started: str | None = None
        """Why the engine did not start again, the last time it was tried."""
        self.failed_batch: str | None = None
        """What was raised in the last batch that failed as a whole."""

    def __call__(
        self, logger: object, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Take one log line of the node's code; none is printed."""
        if event.get("event") == "engine output":
            self.n_lines += 1
            self.lines.append(event["line"])
            if found := _FAILED_BATCH.match(event["line"]):
                self.failed_batch = found[1]
        elif event.get("event") == "engine does not start":
            self.not_started = event["reason"]
        raise structlog.DropEvent

    def showed(self, texts: tuple[str, ...]) -> bool:
        """Tell whether a text that was to be spoken is in what was printed."""
        return any(text in line for line in self.lines for text in texts)


@contextmanager
def collected() -> Iterator[Printed]:
    """Collect what would be logged, for the time of the block."""
    printed = Printed()
    processors = structlog.get_config()["processors"]
    before = processors.copy()
    # In place: loggers that are in use already hold this very list.
    processors[:] = [printed]
    structlog.configure(processors=processors)
    try:
        yield printed
    finally:
        processors[:] = before
        structlog.configure(processors=processors)
