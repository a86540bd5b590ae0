"""A text in pieces that one request can hold: nothing lost, nothing too long, no character taken apart."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from synth_node.engines.xunfei.online import ENCODINGS, Online
from synth_node.engines.xunfei.super_human import SuperHuman
from synth_node.engines.xunfei.texts import pieces
from synth_node.text.graphemes import is_boundary

# Not hypothesis' own alphabets: to compute one takes seconds.
ANY = st.one_of(st.integers(0x20, 0xD7FF), st.integers(0xE000, 0x2FFFF)).map(chr)
ALPHABETS = {
    "UTF8": ANY,
    "UNICODE": ANY,
    "GB18030": ANY,
    "GB2312": st.sampled_from("ab9 .,\n。，！你好世界语音合成Ωжあ"),
    "GBK": st.sampled_from("ab9 .,\n。，！你好世界語音合成鏡"),
    "BIG5": st.sampled_from("ab9 .,\n。，！你好世界語音合成鏡"),
}
WORDS = st.sampled_from(
    [
        "你好，世界。",
        "Hello, world. ",
        "e\u0301",
        "👩‍👩‍👧",
        "🇩🇪🇫🇷",
        "한국어",
        "क्षि",
        " ",
        "\n",
        "\r\n",
        "。",
        "9.5",
    ]
)
MOST = 40


@pytest.mark.parametrize("tte", ENCODINGS)
def test_every_encoding_has_its_property_test(tte: str) -> None:
    assert tte in ALPHABETS


@given(st.data())
def test_nothing_is_lost_and_every_piece_fits(data: st.DataObject) -> None:
    tte = data.draw(st.sampled_from(sorted(ENCODINGS)))
    encoding = ENCODINGS[tte]
    text = data.draw(st.text(ALPHABETS[tte], max_size=120))
    found = list(pieces(text, encoding, MOST))
    assert "".join(found) == text
    assert all(0 < len(piece.encode(encoding)) <= MOST for piece in found)


@given(st.lists(WORDS, max_size=60).map("".join), st.sampled_from(["utf-8", "utf-16-le", "gb18030"]))
def test_no_character_is_taken_apart(text: str, encoding: str) -> None:
    found = list(pieces(text, encoding, MOST))
    assert "".join(found) == text
    at = 0
    for piece in found[:-1]:
        at += len(piece)
        assert is_boundary(text, at), (text[:at], text[at:])
        assert not unicodedata.category(text[at]).startswith("M")
    assert all(len(piece.encode(encoding)) <= MOST for piece in found)


@given(st.text(st.sampled_from("ab你 。."), max_size=200))
def test_pieces_are_as_long_as_their_sentences_allow(text: str) -> None:
    """Neither of two neighbours could have taken the other in."""
    found = list(pieces(text, "utf-8", MOST))
    sizes = [len(piece.encode()) for piece in found]
    whole = [size for size, piece in zip(sizes, found, strict=True) if piece.endswith(("。", "."))]
    assert all(size <= MOST for size in whole)
    assert not text or (len(text.encode()) > MOST) == (len(found) > 1)


def test_a_piece_ends_at_a_sentence_else_at_white_space_else_between_characters() -> None:
    assert list(pieces("一二三四。五六七八。九十。", "utf-8", 30)) == ["一二三四。五六七八。", "九十。"]
    assert list(pieces("one two three four", "utf-8", 10)) == ["one two ", "three four"]
    assert list(pieces("一二三四五六七", "utf-8", 10)) == ["一二三", "四五六", "七"]
    assert list(pieces("一二三四五六七", "utf-16-le", 10)) == ["一二三四五", "六七"]
    assert list(pieces("e\u0301" * 5, "utf-8", 7)) == ["e\u0301" * 2, "e\u0301" * 2, "e\u0301"]


def test_one_character_of_endless_marks_is_cut_after_all() -> None:
    text = "e" + "\u0301" * 100
    found = list(pieces(text, "utf-8", 50))
    assert "".join(found) == text
    assert all(len(piece.encode()) <= 50 for piece in found)


def test_the_limits_of_the_services_are_what_their_documents_say() -> None:
    assert (
        max(len(piece) for piece in pieces("x" * 20_000, "utf-8", Online("a", "UTF8").max_text_bytes)) == 7999
    )
    most = SuperHuman("a").max_text_bytes
    assert 4 * -(-most // 3) < 8000


def test_a_long_text_is_cut_in_time() -> None:
    text = "我们今天讨论语音合成，没有句号" * 10_000
    found = list(pieces(text, "utf-8", 7999))
    assert "".join(found) == text
    assert all(7000 < len(piece.encode()) <= 7999 for piece in found[:-1])


@pytest.mark.parametrize(
    ("text", "encoding", "character"),
    [("a€", "gb2312", "U+20AC"), ("简", "big5", "U+7B80"), ("😀", "gbk", "U+1F600")],
)
def test_a_character_that_the_encoding_lacks_is_named(text: str, encoding: str, character: str) -> None:
    with pytest.raises(
        InvalidRequest, match=rf"{character.replace('+', '.')}, which is not in {encoding}"
    ) as caught:
        list(pieces(text, encoding, 7999))
    assert caught.value.param == "text"
