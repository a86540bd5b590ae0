"""How much memory a process has, as Linux tells."""

from __future__ import annotations

from typing import NamedTuple


class Memory(NamedTuple):
    """resident: all that is in RAM, in bytes. own: of it what the process has written itself, in bytes."""

    resident: int
    own: int


def memory_of(pid: int) -> Memory | None:
    """Return the memory of a process; None where the system does not tell."""
    try:
        # Unlike /proc/pid/statm it counts exactly, on machines with many processors too.
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            lines = [line.split() for line in file]
    except OSError:
        return None
    sizes = {words[0]: int(words[1]) * 1024 for words in lines if len(words) == 3 and words[2] == "kB"}
    if "Rss:" not in sizes or "Anonymous:" not in sizes:
        return None
    return Memory(sizes["Rss:"], sizes["Anonymous:"])


def growth_bytes(sizes: list[int]) -> float:
    """Return by how much memory grows with each utterance, from its sizes after each.

    Only the second half counts: at first every allocator takes what it then uses again.
    """
    settled = sizes[(len(sizes) - 1) // 2 :]
    return (settled[-1] - settled[0]) / max(1, len(settled) - 1)
