"""How much memory an engine's process and its helpers take, as Linux tells."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from synth_node.engines.session import processes_of

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


class Memory(NamedTuple):
    """resident: all that is in RAM (RSS), in bytes. share: the same, but of pages that several processes
    share, its part only (PSS). own: what the process has written itself.
    """

    resident: int
    share: int
    own: int


def memory_of(pid: int) -> Memory | None:
    """Return the memory of one process; None where the system does not tell.

    Source: /proc/<pid>/smaps_rollup, lines such as "Pss: <n> kB", proc_pid_smaps(5).
    """
    lines = [line.split() for line in _read(pid, "smaps_rollup").splitlines()]
    sizes = {words[0]: int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}
    try:
        return Memory(sizes["Rss:"], sizes["Pss:"], sizes["Anonymous:"])
    except KeyError:
        return None


def memory_of_all(leader: int, bound: int) -> int:
    """Return the resident memory of all processes of a session, in bytes; 0 if there are none any more.

    Pages that several processes share are counted in each of them, unless that would pass `bound`: then each
    counts its share of them, which is exact and takes the kernel longer, if the system tells it.
    """
    pids = processes_of(leader)
    resident = sum(map(_resident, pids))
    return resident if resident <= bound else sum(map(_share, pids))


def _resident(pid: int) -> int:
    """Return the second number of /proc/<pid>/statm, in bytes. Source: proc_pid_statm(5)."""
    numbers = _read(pid, "statm").split()
    return _PAGE_BYTES * int(numbers[1]) if numbers else 0


def _share(pid: int) -> int:
    memory = memory_of(pid)
    return _resident(pid) if memory is None else memory.share


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}") as file:
            return file.read()
    except OSError:  # it has ended, or the system does not tell
        return ""
