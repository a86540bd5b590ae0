"""Texts into segments and pauses."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from synth_node.text.segments import LEAST, Part, Pause, Spoken, parts

SENTENCE = "It was the best of times, it was the worst of times, it was the age of wisdom. "
TRICKY = [
    *"aA1.!?…;:, \n\r“”[]()。！？「」、é\u0301😀\u200d🏽؟।\xa0\u3000\x00яก@-—*$€",
    "Dr. ",
    "\n\n",
    "[pause 1s]",
    "[PAUSE 20 ms]",
    "[pause",
    "今天天气",
    "1,000,000",
    "🇩🇪",
    "     ",
    " each long word is followed by another, ",
]
texts = st.text() | st.lists(st.sampled_from(TRICKY), max_size=80).map("".join)


def spoken(text: str, *, first: int = 120, most: int = 300) -> list[str]:
    return [part.text for part in parts(text, first=first, most=most) if isinstance(part, Spoken)]


def pauses(text: str) -> list[int]:
    return [part.ms for part in parts(text) if isinstance(part, Pause)]


def test_the_first_sentence_comes_alone_and_later_ones_together() -> None:
    assert parts("Hello there. This is a test.\nIt goes on. ") == [
        Spoken(0, "Hello there."),
        Spoken(13, "This is a test.\nIt goes on."),
    ]


def test_segments_hold_whole_sentences_up_to_the_limit() -> None:
    assert spoken("First. " + SENTENCE * 7) == ["First.", *[(SENTENCE * 3).strip()] * 2, SENTENCE.strip()]


def test_a_long_first_sentence_is_cut_early_at_a_clause() -> None:
    first, *_ = spoken(
        "However, " + SENTENCE.rstrip(". ") + ", and so on and on and on, for a very long time."
    )
    assert first == "However, It was the best of times, it was the worst of times,"


def test_a_long_first_sentence_without_clauses_is_cut_before_a_conjunction() -> None:
    text = "The total sum amounts to one million two hundred thousand and it costs a lot of money nobody has"
    assert spoken(text, first=90) == [text[:57], text[58:]]


def test_a_long_first_sentence_of_ideographs_is_cut_sooner() -> None:
    text = "今天天气很好我们去公园吧他说你好然后走了，再见我们明天再来看你们好不好啊我的朋友，真的吗。"
    assert spoken(text) == [text[:21], text[21:]]


@pytest.mark.parametrize("text", [".", "😀", "Hi", "***", "—"])
def test_a_text_of_one_thing_is_one_segment(text: str) -> None:
    assert parts(f" {text}\n") == [Spoken(1, text)]


def test_nothing_has_no_parts() -> None:
    assert parts(" \n ") == []


def test_what_cannot_be_said_joins_a_neighbour() -> None:
    assert spoken("***\n\nHello there.\n\n—\n\nThen. 😀 It ends. ***") == [
        "***\n\nHello there.\n\n—",
        "Then. 😀 It ends. ***",
    ]
    assert spoken("Go now. " + "a" * 298 + " ***")[-1].endswith("a ***")
    assert not [part for part in spoken("x" * 290 + " ** ** ** ** " + "y" * 290) if not part.strip("* ")]


def test_a_blank_line_ends_a_segment_that_is_not_very_short() -> None:
    text = "Zero.\n\nA heading with some words\n\nThe text. More.\n\nOne\n\nTwo\n\nThree"
    assert spoken(text) == ["Zero.", "A heading with some words", "The text. More.\n\nOne", "Two\n\nThree"]


@pytest.mark.parametrize("separator", [", ", "; ", "，", "、", " — "])
def test_a_long_sentence_is_cut_where_it_may_be(separator: str) -> None:
    segments = spoken(separator.join(["mañana 12,345"] * 100))
    assert all(100 < len(segment) <= 300 for segment in segments[1:-1])
    assert all(segment.rstrip(separator).endswith("12,345") for segment in segments)


def test_a_clause_is_a_better_place_than_white_space() -> None:
    segments = spoken("Go. " + "one two three four five six seven, " * 20)
    assert all(segment.endswith("seven,") for segment in segments[1:])


def test_a_sign_stays_with_its_amount_and_groups_of_digits_together() -> None:
    for filler in range(60, 100):
        text = "Go. " + "a" * filler + " $ 1,000,000 and 12 000 000 or 5 € " * 4
        joined = "\n".join(spoken(text, most=100))
        assert joined.count("$ 1,000,000") == joined.count("12 000 000") == joined.count("5 €") == 4


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "漢",
        "7",
        "é",
        "e\u0301",
        "👩\u200d👩\u200d👧",
        "🇩🇪",
        "ก",
        "\u1112\u1161\u11ab",
        "क्ष",
        "e" + "\u0301" * 118,
    ],
)
def test_a_word_without_end_is_cut_between_characters(unit: str) -> None:
    text = unit * (50_000 // len(unit))
    segments = spoken(text, first=121, most=299)  # no multiples of the units
    assert "".join(segments) == text
    assert all(len(segment) % len(unit) == 0 for segment in segments)


def test_a_number_in_a_word_without_end_stays_whole() -> None:
    for filler in range(1, 20):
        text = ("x" * filler + "€1,000,000") * 50
        segments = spoken(text, most=100)
        assert sum(segment.count("€1,000,000") for segment in segments) == 50


def test_latin_words_among_ideographs_stay_whole() -> None:
    segments = spoken("我们用Python写程序然后" * 60)
    assert "".join(segments).count("Python") == sum(segment.count("Python") for segment in segments) == 60


def test_a_list_of_texts_is_joined_by_blank_lines() -> None:
    assert spoken("\n\n".join(["The first of the texts", "The second of them", "the third"])) == [
        "The first of the texts",
        "The second of them\n\nthe third",
    ]


@pytest.mark.parametrize(
    ("mark", "ms"),
    [
        ("[pause 500ms]", 500),
        ("[pause 1.5s]", 1500),
        ("[pause 2 s]", 2000),
        ("[PAUSE 20 MS]", 20),
        ("[pause 0s]", 0),
        ("[pause 60s]", 60_000),
        ("[pause 0.0025s]", 2),
    ],
)
def test_pauses(mark: str, ms: int) -> None:
    text = f"Wait {mark} and go."
    assert parts(text) == [Spoken(0, "Wait"), Pause(5, len(mark), ms), Spoken(6 + len(mark), "and go.")]


def test_pauses_one_after_another_stay_apart() -> None:
    assert parts("[pause 1s] [pause 2s]") == [Pause(0, 10, 1000), Pause(11, 10, 2000)]


def test_the_first_segment_is_the_first_that_says_something() -> None:
    assert spoken(f"… [pause 1s] {SENTENCE * 4}") == ["…", SENTENCE.strip(), (SENTENCE * 3).strip()]


@pytest.mark.parametrize(
    "text",
    [
        "[pause for applause]",
        "[pause]",
        "[pause -1s]",
        "[pause 1,5s]",
        "[pause 2 min]",
        "pause 1s",
        "[pause ١s]",
    ],
)
def test_other_brackets_are_text(text: str) -> None:
    assert parts(text) == [Spoken(0, text)]


@pytest.mark.parametrize("mark", ["[pause 61s]", "[pause 60001ms]", f"[pause {'9' * 5000}s]"])
def test_a_pause_over_a_minute_is_refused(mark: str) -> None:
    with pytest.raises(InvalidRequest, match="longer than 60 s") as info:
        parts(f"Wait {mark}.")
    assert info.value.param == "text"


def test_without_a_limit_only_pauses_cut() -> None:
    text = " One. Two!\n\nThree, and four.[pause 1s] Five. Six. "
    assert parts(text, most=None) == [
        Spoken(1, "One. Two!\n\nThree, and four."),
        Pause(28, 10, 1000),
        Spoken(39, "Five. Six."),
    ]
    assert parts(" ", most=None) == []


def test_limits_too_small_are_refused() -> None:
    for first, most in ((19, 300), (120, 39)):
        with pytest.raises(ValueError, match="at least"):
            parts("Hello.", first=first, most=most)


def check(text: str, found: list[Part], most: int) -> None:
    """Check that the parts are in order, of the right size, and leave out nothing but white space."""
    at = 0
    for part in found:
        assert not text[at : part.offset].strip()
        if isinstance(part, Spoken):
            assert part.text == text[part.offset : part.offset + len(part.text)] == part.text.strip()
            assert 0 < len(part.text) <= most
            at = part.offset + len(part.text)
        else:
            assert 0 <= part.ms <= 60_000
            at = part.offset + part.length
    assert not text[at:].strip()


@given(texts, st.sampled_from([(120, 300), (20, 40), (40, 60), (300, 100)]))
@example("A\xa0.‘:—Dr. ”….a.... .”’•)", (120, 300))
def test_nothing_is_lost_and_nothing_is_said_twice(text: str, limits: tuple[int, int]) -> None:
    first, most = limits
    found = parts(text, first=first, most=most)
    check(text, found, most)
    assert found == parts(text, first=first, most=most)


@given(
    st.lists(st.sampled_from([part for part in TRICKY if "pause" not in part.lower()]), max_size=60).map(
        "".join
    )
)
def test_with_room_no_segment_has_nothing_to_say(text: str) -> None:
    segments = spoken(text, first=LEAST)
    if len(text) <= 300 and any(letter.isalnum() for letter in text):
        assert all(any(letter.isalnum() for letter in segment) for segment in segments)


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        "今天天气很好，我们去公园吧。他说：“你好！”然后走了。",
        "x",
        ".",
        "…",
        "”",
        "\n",
        "a\n\n",
        "[pause 1ms]",
        "[pause ",
        "a. ",
        "aяあ. ",
        "1. ",
        "1,000 ",
        "\u0301",
        "\u1100",
        "🇩🇪",
        "a" + " " * 299,
    ],
)
def test_time_grows_with_the_length_only(text: str) -> None:
    text = text * (200_000 // len(text)) + "a"
    began = time.process_time()
    found = parts(text)
    assert time.process_time() - began < 2  # ten times what it takes
    check(text, found, 300)
