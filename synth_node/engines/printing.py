"""Has what an engine prints, and where it crashed, get into the log.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import contextlib
import faulthandler
import sys

_IOLBF = 1  # on Linux


def print_at_once() -> None:
    """Have what C code prints appear line by line: into a pipe it would come late, or never if we die."""
    faulthandler.enable(all_threads=False)  # a process that dies of a signal says in which line
    if sys.platform != "linux":
        return
    import ctypes

    with contextlib.suppress(ValueError, AttributeError):  # no such symbol
        libc = ctypes.CDLL(None)
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, 0)
