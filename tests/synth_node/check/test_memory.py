"""How much memory a process has, and by how much it grows."""

from __future__ import annotations

import os

import pytest

from synth_node.check.memory import growth_bytes
from synth_node.process.memory import memory_of


def test_what_a_process_writes_is_its_own() -> None:
    before = memory_of(os.getpid())
    written = bytearray(os.urandom(1024 * 1024)) * 32
    after = memory_of(os.getpid())
    assert before is not None
    assert after is not None
    assert 0 < before.own <= before.resident
    assert after.own - before.own == pytest.approx(len(written), rel=0.2)


def test_a_process_that_is_gone_has_none() -> None:
    assert memory_of(2**22 + 1) is None


@pytest.mark.parametrize(
    ("sizes", "growth"),
    [
        ([100], 0),
        ([100, 110], 10),
        ([100, 500, 900, 900, 900, 900], 0),
        ([100, 500, 900, 900, 915, 930], 10),
        ([100, 101, 102, 103, 104, 105, 106, 107], 1),
        ([900, 800, 700, 600], -100),
        ([100, 900] * 5, 0),
        ([100, 902, 104, 906, 108, 910, 112, 914, 116, 918], 2),
    ],
)
def test_growth_is_that_of_the_second_half(sizes: list[int], growth: float) -> None:
    assert growth_bytes(sizes) == growth
