"""Where a text may be cut between what people see as characters."""

from __future__ import annotations

import pytest

from synth_node.text.graphemes import is_boundary


@pytest.mark.parametrize(
    "clusters",
    [
        ["a", "b", " ", "1"],
        ["e\u0301", "x\u0302\u0323", "y"],
        ["👩\u200d👩\u200d👧", "👍🏽", "❤\ufe0f", "🏴\U000e0067\U000e0062\U000e007f", "!"],
        ["🇩🇪", "🇫🇷", "🇯🇵", "a"],
        ["\u1112\u1161\u11ab", "\u1100\u1173\u11af", "한", "국"],
        ["क\u094dष\u093f", "त\u094d\u0930"],
        ["ก\u0e33", "น"],
        ["\r\n", "\n", "\r", "a"],
    ],
)
def test_a_text_may_be_cut_between_characters_only(clusters: list[str]) -> None:
    text = "".join(clusters)
    starts = [len("".join(clusters[:n])) for n in range(len(clusters))]
    assert [at for at in range(len(text)) if is_boundary(text, at)] == starts


def test_flags_are_counted_from_the_given_place() -> None:
    assert not is_boundary("🇩🇪🇫🇷", 1)
    assert is_boundary("🇩🇪🇫🇷", 2)
    assert is_boundary("🇩🇪🇫🇷", 3, begin=1)
