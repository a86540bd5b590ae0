"""A text into the parts that are spoken in one go, and the pauses that it asks for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from antiphon.errors import InvalidRequest
from antiphon.sentences import each_sentence
from synth_node.text.graphemes import is_boundary

MAX_PAUSE_MS: Final = 60_000
LEAST: Final = 20
"""Characters; a segment is not cut shorter than this, and a line of its own is not left so short."""
LEAST_MOST: Final = 40

_PAUSE: Final = re.compile(r"\[pause[ \t]+([0-9]+(?:\.[0-9]+)?)[ \t]*(ms|s)\]", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s*")
_SAID: Final = re.compile(r"[^\W_]")

_BLANK_LINE: Final = re.compile(r"(?>\r\n?|\n)[^\S\r\n]*[\r\n]")

# Where a sentence may be cut, the best first.
_SENTENCE_END: Final = re.compile(r"[.!?…][)\]}\"'”’»]*\s|[。！？；…][」』”’）】]*(?![。！？…」』”’）】])")
_CLAUSE: Final = re.compile(r"[,;:][)\]}\"'”’»]*\s|(?<=\s)-\s|[—–](?!\d)|[、，；：،؛፣]")
_CONJUNCTION: Final = re.compile(
    r"(?<!\s)\s(?=(?:and|or|but|because|which|that|when|while|und|oder|aber|dass|et|ou|mais|que|y|pero|и|но|что)\s)"
)
# Not between a currency sign and its number, nor between groups of digits; a no-break space is none.
_GAP: Final = re.compile(
    r"(?<!\s)[^\S\xa0\u2007\u202f]++(?![\d$€£¥₹₩₽])|(?<![\d$€£¥₹₩₽\s])[^\S\xa0\u2007\u202f]"
)
_WIDE: Final = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uff00-\uffef\U00020000-\U0003ffff]")
_WIDE_IS: Final = 3
"""Letters that take as long to say as one ideograph."""
_LOOK_AHEAD: Final = 12
"""Characters behind the window that a pattern may have to see."""
_LOOK_BACK: Final = 60
"""Characters in which a place between two words or characters is looked for."""
_IN_NUMBER: Final = frozenset(".,:/'’-")


@dataclass(frozen=True, slots=True)
class Spoken:
    """A segment: synthesized in one go. text: the characters of the whole text from `offset`."""

    offset: int
    text: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence that the text asks for. offset, length: of the mark in the whole text. ms: 0 to 60,000."""

    offset: int
    length: int
    ms: int


Part = Spoken | Pause


def parts(text: str, *, first: int = 120, most: int | None = 300) -> list[Part]:
    """Return the segments and pauses of `text`, in order; nothing but white space is between them.

    most: characters in a segment; None cuts at pauses only. first: in the first one, which is the first
    sentence or its beginning, so that the first sound comes soon. Later segments hold as many whole
    sentences as fit, and end at a blank line unless they are very short. A longer sentence is cut at a
    clause, else at white space, else between two characters as people see them. What has neither letter
    nor digit joins a neighbour; it is a segment of its own only between two pauses, or where `most` leaves
    no choice.

    Raises:
        InvalidRequest: a pause is longer than 60 s.
        ValueError: `most` is under 40, or `first` under 20.
    """
    return list(each_part(text, first=first, most=most))


def each_part(text: str, *, first: int = 120, most: int | None = 300) -> Iterator[Part]:
    """Yield the same parts, each as soon as it is found. Raises what `parts` does."""
    if most is not None and (most < LEAST_MOST or first < LEAST):
        raise ValueError(f"segments of {first} and {most} characters: at least {LEAST} and {LEAST_MOST}")
    for mark in _PAUSE.finditer(text):
        _pause_ms(mark)  # before the first part is out: an engine may begin with it
    at = 0
    limit = first if most is None else min(first, most)  # of the first segment; 0 afterwards
    for mark in _PAUSE.finditer(text):
        for begin, end in _segments(text, at, mark.start(), first=limit, most=most):
            yield Spoken(begin, text[begin:end])
            limit = 0 if _SAID.search(text, begin, end) else limit
        yield Pause(mark.start(), len(mark[0]), _pause_ms(mark))
        at = mark.end()
    for begin, end in _segments(text, at, len(text), first=limit, most=most):
        yield Spoken(begin, text[begin:end])


def _pause_ms(mark: re.Match[str]) -> int:
    ms = float(mark[1]) * (1000 if mark[2].lower() == "s" else 1)
    if ms > MAX_PAUSE_MS:
        raise InvalidRequest(
            f"{mark[0][:40]} at character {mark.start()} is longer than {MAX_PAUSE_MS // 1000} s",
            param="text",
        )
    return round(ms)


def _segments(text: str, begin: int, end: int, *, first: int, most: int | None) -> Iterator[tuple[int, int]]:
    """Yield where the segments of a stretch without pauses begin and end.

    first: the limit of the first segment; 0 where the first sound has been made.
    """
    if most is None:
        start, stop = _skip_space(text, begin, end), begin + len(text[begin:end].rstrip())
        if start < stop:
            yield start, stop
        return
    opened = closed = -1  # the segment that may still take more
    for start, stop, ends_paragraph in _said(text, begin, end):
        if first:
            cut = _first_cut(text, start, stop, first, most)
            yield start, cut
            first = 0
            start = _skip_space(text, cut, stop)
        for begins, ends in _pieces(text, start, stop, most):
            if opened >= 0 and ends - opened > most:
                yield opened, closed
                opened = -1
            opened = begins if opened < 0 else opened
            closed = ends
        if opened >= 0 and ends_paragraph and closed - opened >= LEAST:
            yield opened, closed
            opened = -1
    if opened >= 0:
        yield opened, closed


def _said(text: str, begin: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Yield where each sentence begins and ends, and whether a blank line follows.

    A sentence takes along its neighbours that have nothing to say.
    """
    start = stop = -1
    is_said = ends_paragraph = False
    at = begin
    for sentence in each_sentence(text[begin:end]):
        following = at + len(sentence)
        new_stop = at + len(sentence.rstrip())
        if new_stop > at:
            new_is_said = _SAID.search(text, at, new_stop) is not None
            if start >= 0 and is_said and new_is_said:
                yield start, stop, ends_paragraph
                start, is_said = -1, False
            start = _skip_space(text, at, new_stop) if start < 0 else start
            stop, is_said = new_stop, is_said or new_is_said
            ends_paragraph = following - stop > 1 and _BLANK_LINE.search(text, stop, following) is not None
        at = following
    if start >= 0:
        yield start, stop, ends_paragraph


def _pieces(text: str, start: int, stop: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield the span in pieces of at most `most` characters, without the white space between them."""
    last = _last_said(text, start, stop) if stop - start > most else stop
    while stop - start > most:
        cut = _cut(text, start, last, start + LEAST, start + most)
        yield start, cut
        start = _skip_space(text, cut, stop)
    if start < stop:
        yield start, stop


def _skip_space(text: str, at: int, end: int) -> int:
    match = _SPACE.match(text, at, end)
    return match.end() if match else at


def _first_cut(text: str, start: int, stop: int, first: int, most: int) -> int:
    """Return where to end the first segment: the end of its sentence, or rather early in it than late."""
    least = LEAST
    if len(_WIDE.findall(text, start, min(stop, start + first))) > min(stop - start, first) // 2:
        first, least = first // _WIDE_IS, LEAST // _WIDE_IS
    last = _last_said(text, start, stop)
    low, high = start + least, start + first
    if stop <= high or (last < high and stop - start <= most):
        return stop
    if (said := _SAID.search(text, start, high)) is None:
        return stop if stop - start <= most else _cut(text, start, last, low, start + most)
    low = max(low, said.end())
    for pattern in (_CLAUSE, _CONJUNCTION):
        if ends := _ends(pattern, text, start, low, high):
            return next((end for end in ends if end >= start + first // 3), ends[-1])
    return _cut(text, start, last, low, high)


def _last_said(text: str, start: int, stop: int) -> int:
    """Return the index of the last letter or digit, `start` where there is none."""
    return next((at for at in range(stop - 1, start, -1) if text[at].isalnum()), start)


def _cut(text: str, start: int, last: int, low: int, high: int) -> int:
    """Return where to end a piece, from `low` to `high`; last: the index of the last letter or digit."""
    # Something is to be said on both sides.
    if (said := _SAID.search(text, start, high)) is not None:
        low = max(low, said.end())
    if low <= last < high:
        high = last
    early = max(low, start + (high - start) // 3)
    for pattern in (_SENTENCE_END, _CLAUSE, _GAP):
        if ends := _ends(pattern, text, start, early, high):
            return ends[-1]
    lowest = max(early, high - _LOOK_BACK)
    cut = _between_characters(text, start, lowest, high, in_words=False)
    if cut is None and (ends := _ends(_GAP, text, start, low, high)):
        return ends[-1]
    if cut is None:
        cut = _between_characters(text, start, lowest, high, in_words=True)
    if cut is None:  # one number, or one character under a heap of marks
        cut = next((at for at in range(high, early, -1) if is_boundary(text, at, start)), high)
    return start + len(text[start:cut].rstrip())


def _ends(pattern: re.Pattern[str], text: str, start: int, low: int, high: int) -> list[int]:
    """Return where the matches of `pattern` end, without their white space, from `low` to `high`."""
    matches = pattern.finditer(text, start, min(len(text), high + _LOOK_AHEAD))
    ends = (match.start() + len(match[0].rstrip()) for match in matches)
    return [end for end in ends if low <= end <= high]


def _between_characters(text: str, start: int, low: int, high: int, *, in_words: bool) -> int | None:
    """Return the last place from `low` to `high` that is in no character, number or, unless allowed, word."""
    for at in range(high, low - 1, -1):
        before, after = text[at - 1], text[at]
        if not in_words and before.isascii() and after.isascii():
            continue
        if (
            is_boundary(text, at, start)
            and not _is_in_number(text, at)
            and (in_words or _may_part(before, after))
        ):
            return at
    return None


def _is_in_number(text: str, at: int) -> bool:
    before, after = text[at - 1], text[at]
    if after.isdigit():
        if before in _IN_NUMBER:
            return at > 1 and text[at - 2].isdigit()
        return before.isdigit() or unicodedata.category(before) == "Sc"
    if after in _IN_NUMBER:
        return before.isdigit() and text[at + 1 : at + 2].isdigit()
    return unicodedata.category(after) == "Sc" and before.isdigit()


def _may_part(before: str, after: str) -> bool:
    """Tell whether the two may stand apart: ideographs and kana, or what is no word at all."""
    if unicodedata.category(after) in ("Pe", "Pf", "Po", "Lm") or unicodedata.category(before) in (
        "Ps",
        "Pi",
    ):
        return False
    return not (_is_spelled(before) and _is_spelled(after))


def _is_spelled(character: str) -> bool:
    """Tell whether this is a letter or digit of a script that writes spaces between words."""
    return character.isalnum() and not ("\u2e80" <= character <= "\u9fff" or character >= "\U00020000")
