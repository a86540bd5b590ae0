"""An engine's process and all that it has started, which are one session: it ends as a whole, with the node.

Standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from typing import List, NoReturn, Set  # noqa: UP035  (Python 3.8)

_PR_SET_PDEATHSIG = 1


def die_with(parent: int, sock: socket.socket) -> None:
    """Make sure that this process, which leads the session, never outlives the node.

    Not even inside a call that blocks. sock: its other end is the node's.
    """
    if sys.platform == "linux":
        _end_without_python()
    if os.getppid() != parent:  # it died before the line above
        die()
    poller = select.poll()
    poller.register(sock, select.POLLHUP | getattr(select, "POLLRDHUP", 0))

    def wait() -> None:
        poller.poll()
        die()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def _end_without_python() -> None:
    """Have the kernel end a process whose engine holds the interpreter's lock, so that no thread can.

    A second later: a kill at once would leave the helpers behind, which the thread finds. The signal for the
    parent's death is SIGHUP, its handler is the C function alarm(), which takes the signal's number, 1, as
    seconds; then comes SIGALRM, which ends the process.
    """
    import ctypes

    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal(signal.SIGHUP, libc.alarm)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGHUP, 0, 0, 0)


def die() -> NoReturn:
    """End this process and the helpers it started, at once."""
    try:
        kill_session(os.getpid())
    finally:
        os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(1)


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
