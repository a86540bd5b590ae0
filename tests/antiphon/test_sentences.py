"""Sentences of a whole text, and of one that arrives bit by bit."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.sentences import complete_sentences, sentences

TRICKY = [
    *"aA1.!?…;:, \n\r\t\"'“”«»()[]。！？」、é\u0301😀\u200d؟।\xa0\u3000\u2028\x00яßก@-—*",
    "Dr. ",
    "e.g. ",
    "\n\n",
    "... ",
    "3. ",
    "Mai ",
    "https://a.b/C.Do?X ",
]
texts = st.text() | st.lists(st.sampled_from(TRICKY), max_size=60).map("".join)


def split(marked: str) -> None:
    """Check that the text without its bars is split at exactly these."""
    assert sentences(marked.replace("|", "")) == marked.split("|")


@pytest.mark.parametrize(
    "marked",
    [
        "Dr. Smith met Mr. J. R. Jones. |They spoke, e.g. about 3.14 and $4.50.",
        "At 10:30 a.m. he left. |The U.S. is big. |U.S. Army came.",
        "Version 1.2.3 is out! |Wait... what? |Hmm… yes.",
        "See https://a.b/C.Do?Xx=Y!A. |Next www.Foo.Bar. |Mail me@x.org. |Ok.",
        '"Hello there!" she said. |(Really?) |He said: "Go." |Then he left.',
        "“I went. I saw.” |He said so. |It ended.) |Next.",
        "What?! |No way!!! |OK.",
        "Hello world.|How are you?|Fine.",
        "hello there. |how are you? |fine.",
    ],
)
def test_english(marked: str) -> None:
    split(marked)


@pytest.mark.parametrize(
    "marked",
    [
        "他说：“你好！”|然后走了。|真的吗？|是的……好吧。|「今天。」|他走了；明天。",
        "（他来了。）|我们走吧！！|真的？！|好。",
        "今日は「元気？」|と聞いた。|はい！|そうです。",
        "यह एक वाक्य है। |यह दूसरा है॥ |क्या? |हाँ।",
        "كيف حالك؟ |أنا بخير. |نعم۔",
        "สวัสดีครับ ผมชื่อจอห์น วันนี้อากาศดี",
        "Привет. |Как дела? |В 1990 г. он родился. |А. С. Пушкин писал. |Т. е. так.",
        "Das ist z. B. gut. |Am 3. Mai kam Dr. Müller. |„Ja.“ |Der 2. Weltkrieg war es bzw. Herr Maier.",
        "« Bonjour ! » dit-il. |M. Dupont est là. |Quoi\xa0? |Non\xa0!",
        "¿Qué tal? |¡Muy bien! |El Sr. Pérez vino de EE. UU. |Bien.",
        "Γεια σου. |Τι κάνεις; |Καλά.",
        "Բարև։ |Ինչ։",
        "ሰላም። |እንዴት ነህ፧ |ደህና።",
        "ភាសា។ |ខ្មែរ។",
        "Hello there. |你好。|Привет. |Bye.",
    ],
)
def test_other_languages(marked: str) -> None:
    split(marked)


@pytest.mark.parametrize(
    "marked",
    [
        "1. First item\n|2. Second item\n|3. Third item",
        "Ingredients:\n|- two eggs\n|- milk,\n|- salt\n|Then cook.",
        "A heading\n\n|A paragraph.\n \n|Another",
        "A heading\r\n\r\n|A paragraph.",
        "Roses are red\n|Violets are blue",
        "Roses are red,\nViolets are blue",
        "A line that was wrapped at forty-five columns\nor so, before a lower-case letter",
        "It was wrapped where the next word has no room\nBerlin is one, and London is another city\nParis",
        "This line ends early\n|So that Berlin would have had its room in that line.",
        "床前明月光\n|疑是地上霜",
        "\n\n Hello. |Bye.\n",
    ],
)
def test_lines_end_sentences_only_where_they_were_ended_on_purpose(marked: str) -> None:
    split(marked)


def test_nothing_has_no_sentences_and_white_space_is_kept() -> None:
    assert sentences("") == []
    assert sentences(" \n\n ") == [" \n\n "]


@given(texts)
@example("A\xa0.‘:—Dr. ”….a.... .”’•)")  # what makes sentencex panic
@example("New.\r\n\r\nParagraph.")
def test_nothing_is_lost(text: str) -> None:
    found = sentences(text)
    assert "".join(found) == text
    assert all(found)


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox. Dr. Smith, who lives in the U.S., said so (twice). ",
        "今天天气很好，我们去公园吧。他说：“你好！”然后走了。",
        "“",
        "a. ",
        "1. abc\n",
        "aяあ. ",
        "\n",
        "x",
    ],
)
def test_time_grows_with_the_length_only(text: str) -> None:
    text *= 200_000 // len(text)
    began = time.process_time()
    sentences(text)
    assert time.process_time() - began < 1.5  # ten times what it takes


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Hello. How", "How"),
        ("Hello. ", ""),
        ("Hello.", "Hello."),
        ("Hello.5", "Hello.5"),
        ("Is it? ", ""),
        ("(It is.) ", ""),
        ('"Go!" ', '"Go!" '),  # he said?
        ("Hello. Dr. ", "Dr. "),
        ("See e.g. ", "See e.g. "),
        ("Made by Apple Inc. ", "Made by Apple Inc. "),
        ("He got 3. ", "He got 3. "),
        ("Am 3. M", "Am 3. M"),
        ("Am 3. Mai war", "Am 3. Mai war"),
        ("He got 3. Then it", "Then it"),
        ("Well... ", "Well... "),
        ("A heading\n\n", ""),
        ("A heading\n", "A heading\n"),
        ("你好。", ""),
        ("你好。他", "他"),
        ("「你好。", "「你好。"),
        ("「你好。」", ""),
        ("真的吗？", ""),
        ("नमस्ते। ", ""),
        ("  ", "  "),
        ("", ""),
    ],
)
def test_a_sentence_is_given_out_when_it_is_certainly_complete(text: str, rest: str) -> None:
    found, left = complete_sentences(text)
    assert left == rest
    assert "".join(found) == text.removesuffix(rest)


@given(texts, st.integers(1, 9))
def test_what_arrives_bit_by_bit_is_all_given_out(text: str, size: int) -> None:
    heard: list[str] = []
    rest = ""
    for begin in range(0, len(text), size):
        found, rest = complete_sentences(rest + text[begin : begin + size])
        heard += found
    assert "".join(heard) + rest == text
    assert all(heard)


def test_letter_by_letter_gives_the_same_sentences() -> None:
    text = "Dr. Smith came at 5 p.m. to see. He got 3. Then 4. Wait... what? 3. Mai war es. 他说：“好。”Yes. "
    heard: list[str] = []
    rest = ""
    for letter in text:
        found, rest = complete_sentences(rest + letter)
        heard += found
    assert [*heard, rest] == [*sentences(text), ""]
