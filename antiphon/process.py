"""What the main function of every process does: stop on a signal, and say why it ends."""

from __future__ import annotations

import asyncio
import gc
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
    sys.stderr.write(f"{first_of(failure)}\n")


def first_of(failure: BaseException) -> BaseException:
    """Return a failure or, of a group within whatever groups, its first."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def settle_memory() -> None:
    """Leave what start-up made out of garbage collection, and collect less often.

    What a request makes is freed by reference counts; looking for cycles in it every few hundred objects cost
    a tenth of the processor time of a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
