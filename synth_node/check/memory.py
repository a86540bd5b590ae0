"""By how much memory grows."""

from __future__ import annotations


def growth_bytes(sizes: list[int]) -> float:
    """Return by how much memory grows with each utterance, from its sizes after each.

    Only the second half counts: at first every allocator takes what it then uses again.
    """
    settled = sizes[(len(sizes) - 1) // 2 :]
    return (settled[-1] - settled[0]) / max(1, len(settled) - 1)
