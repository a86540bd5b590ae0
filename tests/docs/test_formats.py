"""The page on formats has what the encoders do."""

from __future__ import annotations

import pytest

from antiphon.errors import InvalidRequest, UnsupportedFormat
from antiphon.request import CONTENT_TYPES
from synth_node.audio.encode import check_format, make_encoder
from tests.docs.test_reference import tables

TABLES = [(head, rows) for head, rows in tables("formats.md") if head[0] == "format"]


def column(name: str) -> dict[str, str]:
    """Return what the one table with the column `name` says of each format."""
    ((head, rows),) = [(head, rows) for head, rows in TABLES if name in head]
    return {row[0]: row[head.index(name)] for row in rows}


def test_every_table_has_every_format() -> None:
    assert len(TABLES) == 4
    for _, rows in TABLES:
        assert [row[0] for row in rows] == list(CONTENT_TYPES)
    assert column("Content-Type") == dict(CONTENT_TYPES)


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_the_sample_rates_are_those_that_are_taken(format: str) -> None:
    taken = []
    for rate in (*range(8000, 48_001, 25), 23_999):
        try:
            check_format(format, rate)
            taken.append(rate)
        except InvalidRequest:
            pass
    listed = column("sample rates in Hz")[format]
    assert listed == ("any" if 23_999 in taken else ", ".join(str(rate) for rate in taken))


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_what_cannot_go_on_says_so(format: str) -> None:
    try:
        make_encoder(format, in_rate=22_050, sample_rate=None, bit_rate=64_000, continued=True).close()
        can = "yes"
    except UnsupportedFormat:
        can = "no"
    assert column("can go on")[format] == can
