"""A server's own words, before anybody sees them."""

from __future__ import annotations

import pytest

from synth_node.network.trouble import MAX_WORDS, clean

KEY = "sk-0123456789"


@pytest.mark.parametrize("n_before", range(MAX_WORDS - len(KEY) - 1, MAX_WORDS + 1))
def test_no_part_of_a_secret_is_left_where_words_are_cut(n_before: int) -> None:
    assert KEY[:2] not in clean("x" * n_before + KEY + "y" * MAX_WORDS, "other", KEY)


def test_words_are_one_bounded_line() -> None:
    assert clean(" a\r\nb\x1b[31m  c ") == "a b [31m c"
    assert clean("x" * MAX_WORDS) == "x" * MAX_WORDS
    assert clean("x" * (MAX_WORDS + 1)) == "x" * MAX_WORDS + "…"


@pytest.mark.parametrize("words", [None, 3, ["a"], {"a": "b"}])
def test_what_is_no_text_says_nothing(words: object) -> None:
    assert clean(words, KEY) == ""


def test_a_secret_that_is_not_there_hides_nothing() -> None:
    assert clean("a b", None, "") == "a b"
