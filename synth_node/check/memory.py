"""By how much memory grows."""

from __future__ import annotations

from itertools import combinations
from statistics import median_low
from typing import Final

_MOST: Final = 200


def growth_bytes(sizes: list[int]) -> float:
    """Return by how much memory grows with each utterance, from its sizes after each.

    Only the second half counts: at first every allocator takes what it then uses again. What a long text
    takes more than a short one is no growth: it is the median of what any two sizes say.
    """
    settled = list(enumerate(sizes[(len(sizes) - 1) // 2 :][-_MOST:]))
    slopes = [(later - size) / (at - before) for (before, size), (at, later) in combinations(settled, 2)]
    return median_low(slopes) if slopes else 0.0
