"""What the main function of every process does: stop on a signal, and say why it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys


def stop_on_signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process at once."""
    stop = asyncio.Event()

    def on_signal(signum: int) -> None:
        if stop.is_set():
            os._exit(128 + signum)
        stop.set()

    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, on_signal, signum)
    return stop


def say(failure: BaseException) -> None:
    """Print a failure, of a group its first, as one sentence."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    sys.stderr.write(f"{failure}\n")
