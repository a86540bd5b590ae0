"""Texts into sentences, whole or as they arrive; not imported by the bare client, which has no sentencex."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import sentencex  # type: ignore[import-untyped]

_BLOCK: Final = 500
"""Characters that sentencex gets at once: its time grows with the square of them."""
_NARROW: Final = 40
"""Columns; a paragraph of lines no longer than this is a poem, a list or an address, not wrapped prose."""

_SPACES: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
# No-break and ideographic spaces make sentencex panic, line ends mean something else to it than to us,
# and it does not know the full stops of Khmer and Tibetan. Each is replaced by one character.
_ODD: Final = re.compile(f"[{_SPACES}\u17d4\u0f0d]")
_PLAIN: Final = str.maketrans(_SPACES + "\u17d4\u0f0d", " " * len(_SPACES) + "।।")
_ADDRESS: Final = re.compile(r"(?:\b[A-Za-z][A-Za-z0-9+.-]{0,15}://|\bwww\.)[!-~]*[A-Za-z0-9/]")
_MAY_END: Final = re.compile(r"[.!?]\s*[^.!?\s]|[^\x00-\x7f]")
"""Without any of these, what is left is one sentence."""

_CJK: Final = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WIDE: Final = re.compile(f"[{_CJK}]")
_FIRST_WORD: Final = re.compile(rf"\s*([{_CJK}]{{1,3}}|\S{{1,99}})")
_LIST_ITEM: Final = re.compile(
    r"\s*(?:[-*+•·‣▪–—#>]+\s|[(（]?\d{1,3}[.)）]\s|[(（]?[A-Za-z][)）]\s|[一二三四五六七八九十]{1,3}、|•)"
)
_GOES_ON: Final = tuple(",;-–—،、，；")

_SCRIPTS: Final = {
    "ru": re.compile("[\u0400-\u052f]"),
    "el": re.compile("[\u0370-\u03ff]"),
    "hi": re.compile("[\u0900-\u097f]"),
    "ar": re.compile("[\u0600-\u06ff]"),
    "bn": re.compile("[\u0980-\u09ff]"),
    "ta": re.compile("[\u0b80-\u0bff]"),
    "te": re.compile("[\u0c00-\u0c7f]"),
    "am": re.compile("[\u1200-\u137f]"),
    "hy": re.compile("[\u0530-\u058f]"),
    "my": re.compile("[\u1000-\u109f]"),
}
_OTHER_SCRIPT: Final = re.compile("|".join(script.pattern for script in _SCRIPTS.values()))
_LATIN: Final = re.compile("[A-Za-z]")
_GERMAN: Final = re.compile(r"\b(?:und|der|das|ist|nicht|eine?|für|dass|mit|auch|wird|sich|ich|zum)\b")

_NUMBER_OF_ITEM: Final = re.compile(r"\s*[(（]?(?:\d{1,3}|[A-Za-z])[.)）]\s+\Z")
_LETTER: Final = re.compile(r"\b(?:[^\W\d]|UU)\.\s+\Z")
_ABBREVIATION: Final = re.compile(r"\b(?:EE|bzw|[Ii]nkl|[Ee]xkl|zzgl|См|см|Рис|рис)\.\s+\Z")
_ORDINAL: Final = re.compile(r"(?:\b\d{1,2}|\b[IVX]{1,5})\.\s+\Z")
_AFTER_ORDINAL: Final = re.compile(
    r"(?:Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember|"
    r"Jahrhundert|Weltkrieg|Klasse|Stock|Platz|Kapitel|Auflage)"
)
_SPACE: Final = re.compile(r"\s+")
_SPACE_OR_CLOSING: Final = re.compile("[)\\]}）】」』》〉”’»›\"']+(?:\\s+|\\Z)|[）】」』》〉”’]+|\\s+")
_ASIDE: Final = re.compile(r"[(（\[【][^()（）\[\]【】]*[.!?。！？][)）\]】]\s*")


def sentences(text: str) -> list[str]:
    """Return the sentences of `text`, each with the white space after it; joined they are `text` again.

    A blank line always ends a sentence. The end of a single line does where the line was ended on purpose:
    before a list item, or when the next line's first word would still have fitted or no line is longer than
    40 columns; never before a lower-case letter, nor after a comma.
    """
    return list(each_sentence(text))


def each_sentence(text: str) -> Iterator[str]:
    """Yield the same sentences, each as soon as it is found."""
    latin = "de" if len(set(_GERMAN.findall(text[:2000]))) > 1 else "en"
    for unit in _units(text):
        if _MAY_END.search(unit) is None:
            yield unit
        else:
            yield from _unit_sentences(unit, latin)


def _units(text: str) -> Iterator[str]:
    """Yield the runs of lines that only their punctuation can tell apart: at most a paragraph."""
    for paragraph in _paragraphs(text):
        if len(paragraph) == 1:
            yield paragraph[0]
            continue
        widest = max(paragraph, key=len)
        width = len(widest.rstrip())
        narrow = width <= _NARROW and width + len(_WIDE.findall(widest)) <= _NARROW
        begin = 0
        for number, (line, following) in enumerate(pairwise(paragraph), 1):
            if _ends_on_purpose(line, following, width=width, narrow=narrow):
                yield "".join(paragraph[begin:number])
                begin = number
        yield "".join(paragraph[begin:])


def _paragraphs(text: str) -> Iterator[list[str]]:
    """Yield the lines of each paragraph; the blank lines after it belong to its last line."""
    lines: list[str] = []
    blank: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.isspace():
            blank.append(line)
        elif not blank:
            lines.append(line)
        elif not lines:  # the text begins with blank lines
            lines, blank = ["".join([*blank, line])], []
        else:
            lines[-1] = "".join([lines[-1], *blank])
            yield lines
            lines, blank = [line], []
    if lines or blank:
        yield [*lines[:-1], "".join(lines[-1:] + blank)]


def _ends_on_purpose(line: str, following: str, *, width: int, narrow: bool) -> bool:
    if _LIST_ITEM.match(following):
        return True
    word = _FIRST_WORD.match(following)
    line = line.rstrip()
    if word is None or word[1][0].islower() or line.endswith(_GOES_ON):
        return False
    return narrow or len(line) + 1 + len(word[1]) <= width


def _unit_sentences(unit: str, latin: str) -> Iterator[str]:
    """Split a unit a block at a time; a block's last sentence goes on in the next block."""
    language = latin if unit.isascii() else _language(unit, latin)
    plain = _ODD.sub(lambda match: match[0].translate(_PLAIN), unit)  # there are few: ten times as fast
    if "://" in plain or "www." in plain:  # what looks like marks in there is none
        plain = _ADDRESS.sub(lambda match: "x" * len(match[0]), plain)
    ends: list[int] = []
    at = begin = n_told = 0
    while at < len(unit):
        lengths = _segment(language, plain[at : at + _BLOCK])
        is_last = at + _BLOCK >= len(unit)
        if not is_last and len(lengths) > 1:
            lengths.pop()
        for length in lengths:
            at += length
            if is_last or length < _BLOCK:  # one that fills a block goes on in the next
                _end(unit, ends, at)
        n_certain = len(ends) if is_last else len(ends) - 1  # the last may still move
        for end in ends[n_told:n_certain]:
            yield unit[begin:end]
            begin = end
        n_told = max(n_told, n_certain)


def _segment(language: str, plain: str) -> list[int]:
    """Return the lengths of the sentences that sentencex finds."""
    try:
        lengths = [len(sentence) for sentence in sentencex.segment(language, plain)]
    except BaseException as exc:  # a Rust panic is no Exception; it must not end the process
        if type(exc).__name__ != "PanicException":
            raise
        return [len(plain)]
    return lengths if sum(lengths) == len(plain) else [len(plain)]


def _end(unit: str, ends: list[int], end: int) -> None:
    """Add the end of a sentence to those of its unit, moving what sentencex sets wrong."""
    if ends:
        begin = ends[-1]
        stray = _SPACE if unit[begin - 1].isspace() else _SPACE_OR_CLOSING
        if moved := stray.match(unit, begin, end):
            begin = ends[-1] = moved.end()
        if begin == end:
            return
        if _goes_on(unit, begin, first=len(ends) == 1):
            ends.pop()
    begin = ends[-1] if ends else 0
    while (aside := _ASIDE.match(unit, begin, end)) and aside.end() < end:
        begin = aside.end()
        if not unit[begin].islower():
            ends.append(begin)
    ends.append(end)


def _goes_on(unit: str, begin: int, *, first: bool) -> bool:
    """Tell whether what begins there goes on with the sentence before it; first: that one begins the unit."""
    if not unit[begin - 1].isspace():
        return False
    before = unit[max(0, begin - 20) : begin]
    mark = before.rstrip()[-1:]
    if mark not in (".", ")", "）"):
        return False
    if first and begin < 20 and _NUMBER_OF_ITEM.match(before):
        return True
    if mark != ".":
        return False
    if unit[begin].islower() and (not unit[begin].isascii() or _LETTER.search(before)):
        return True
    if _ABBREVIATION.search(before):
        return True
    return _AFTER_ORDINAL.match(unit, begin) is not None and _ORDINAL.search(before) is not None


def _language(unit: str, latin: str) -> str:
    """Choose by script whose abbreviations and full stops count; `latin` where no other has more letters."""
    sample = unit[:400]
    if _OTHER_SCRIPT.search(sample) is None:
        return latin
    n_latin = len(_LATIN.findall(sample))
    for language, script in _SCRIPTS.items():
        if script.search(sample) and len(script.findall(sample)) >= n_latin:
            return language
    return latin


_ENDED: Final = re.compile(r"[.!?;؟۔।॥។།።፧։။][)\]}）】]*\s+\Z")
_ENDED_AT_ONCE: Final = re.compile(r"[。！？｡][）】」』》〉”’]*\s*\Z")
_MAY_GO_ON: Final = re.compile(
    # a number, one letter, dots inside, an ellipsis, or an abbreviation that may also end a sentence
    r"(?:\d|\b\w|\.\w+|\.\.|…|\b(?:inc|ltd|co|corp|etc|jr|sr|vs|no|usw|bzw|ca|nr|st|ave|dept|approx|al))"
    r"\.?[)\]}\"'”’»]*\s*\Z",
    re.IGNORECASE,
)
_OPENING: Final = "「『“（《【"
_CLOSED_BY: Final = "」』”）》】"
_BLANK_LINE: Final = re.compile(r"(?:\n|\r(?!\n))[^\S\r\n]*[\r\n]\s*\Z")


def complete_sentences(text: str) -> tuple[list[str], str]:
    """Return the sentences of `text` that are certainly complete, and the rest: the beginning of the next.

    For text that arrives bit by bit: call it with the last rest and what is new. A sentence is complete when
    another one has begun, when its mark is followed by white space and it is none of an abbreviation or a
    number that may go on, at a blank line, or at once after a Chinese or Japanese mark, unless a quotation
    is still open. All parts joined are `text` again.
    """
    found = sentences(text)
    if not found:
        return [], text
    rest = found.pop()
    if _is_complete(rest):
        return [*found, rest], ""
    # Half a word is not enough to tell "3. Mai" from "3. Then".
    while found and _MAY_GO_ON.search(found[-1][-40:]) and not _has_a_word(rest):
        rest = found.pop() + rest
    return found, rest


def _is_complete(sentence: str) -> bool:
    if sentence.isspace():
        return False
    if _BLANK_LINE.search(sentence[-40:]):
        return True
    end = sentence[-40:]
    if _ENDED_AT_ONCE.search(end):
        return all(sentence.count(a) <= sentence.count(b) for a, b in zip(_OPENING, _CLOSED_BY, strict=True))
    return _ENDED.search(end) is not None and not _MAY_GO_ON.search(end) and not _is_abbreviation(sentence)


def _is_abbreviation(sentence: str) -> bool:
    """Ask sentencex whether a sentence could begin after this one."""
    end = sentence[-_BLOCK:]
    return len(sentences(f"{end}Aa")) == len(sentences(end))


def _has_a_word(text: str) -> bool:
    return re.search(r"\w\W", text) is not None or _WIDE.search(text) is not None
