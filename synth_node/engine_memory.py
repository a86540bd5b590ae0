"""How much memory an engine's process and its helpers take."""

from __future__ import annotations

import os
from typing import Final

from synth_node.engines.session import processes_of

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def memory_of(leader: int, bound: int) -> int:
    """Return the resident memory of all processes of a session, in bytes; 0 if there are none any more.

    Pages that several processes share are counted in each of them (RSS), unless that would pass `bound`: then
    each counts its share of them (PSS), which is exact and takes the kernel longer.
    """
    pids = processes_of(leader)
    resident = sum(map(_rss, pids))
    return resident if resident <= bound else sum(map(_pss, pids))


def _rss(pid: int) -> int:
    """Return the second number of /proc/<pid>/statm, in bytes. Source: proc_pid_statm(5)."""
    numbers = _read(pid, "statm").split()
    return _PAGE_BYTES * int(numbers[1]) if numbers else 0


def _pss(pid: int) -> int:
    """Return the line "Pss: <n> kB" of /proc/<pid>/smaps_rollup, in bytes. Source: proc_pid_smaps(5)."""
    lines = _read(pid, "smaps_rollup").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _read(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}") as file:
            return file.read()
    except OSError:  # it has ended
        return ""
