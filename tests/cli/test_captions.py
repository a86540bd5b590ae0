"""Word times as JSON and as captions."""

from __future__ import annotations

import json
import re

from antiphon.cli.captions import MAX_CUE_CHARACTERS, captions
from antiphon.events import Segment, Word

TEXT = 'Well, "this" is <it>.\nNow\tthe end & 你好。'
SEGMENTS = [Segment(0, 2, 0, 21), Segment(1, 2, 22, 18)]


def words_of(text: str) -> list[Word]:
    """Return words of 100 ms per character."""
    found = re.finditer(r"\w+", text)
    return [Word(m.start(), m.end() - m.start(), 100 * m.start(), 100 * m.end()) for m in found]


def test_json_has_every_word() -> None:
    words = json.loads(captions("json", TEXT, SEGMENTS, words_of(TEXT)))["words"]
    assert [word["word"] for word in words] == re.findall(r"\w+", TEXT)
    assert words[1] == {"word": "this", "offset": 7, "length": 4, "start_ms": 700, "end_ms": 1100}


def test_a_cue_is_a_segment() -> None:
    assert captions("srt", TEXT, SEGMENTS, words_of(TEXT)) == (
        '1\n00:00:00,000 --> 00:00:01,900\nWell, "this" is <it>.\n\n'
        "2\n00:00:02,200 --> 00:00:03,800\nNow the end & 你好。\n\n"
    )
    assert captions("vtt", TEXT, SEGMENTS, words_of(TEXT)) == (
        'WEBVTT\n\n00:00:00.000 --> 00:00:01.900\nWell, "this" is &lt;it&gt;.\n\n'
        "00:00:02.200 --> 00:00:03.800\nNow the end &amp; 你好。\n\n"
    )


def test_a_long_segment_is_cut_between_words() -> None:
    text = "abcdefghi " * 4000
    lines = captions("srt", text, [Segment(0, 1, 0, len(text))], words_of(text)).split("\n")
    shown = lines[2::4]
    assert " ".join(shown).split() == text.split()
    assert max(map(len, shown)) <= MAX_CUE_CHARACTERS
    assert lines[-4].endswith("--> 01:06:39,900")


def test_nothing_heard_is_an_empty_file() -> None:
    assert captions("srt", "", [], []) == ""
    assert captions("vtt", "", [], []) == "WEBVTT\n\n"
