"""Finds and ends all that an engine's process has started. Standard library only, Python 3.8 or newer."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import List, Set  # noqa: UP035  (Python 3.8)


def kill_session(leader: int) -> None:
    """Kill every process of the session of `leader`, that one first, but never the caller.

    It finds those in groups of their own, too, such as what `timeout` or a shell with job control starts.
    """
    known: Set[int] = {os.getpid()}  # noqa: UP006  (Python 3.8)
    while True:
        # Again until there is nothing new: one may have been forking while the list was read.
        found = [pid for pid in processes_of(leader) if pid not in known]
        if not found:
            return
        for pid in sorted(found, key=lambda pid: pid != leader):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        known.update(found)


def processes_of(leader: int) -> List[int]:  # noqa: UP006  (Python 3.8)
    """Return the numbers of all processes of the session of `leader`."""
    return [pid for pid in _processes() if _session_of(pid) == leader]


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return 0


def _processes() -> List[int]:  # noqa: UP006  (Python 3.8)
    try:
        names = os.listdir("/proc")
    except FileNotFoundError:  # not Linux
        import subprocess

        names = subprocess.run(["ps", "-A", "-o", "pid="], stdout=subprocess.PIPE).stdout.decode().split()
    return [int(name) for name in names if name.isdigit()]
