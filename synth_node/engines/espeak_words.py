"""Which word of a text is heard when, told from the events of espeak-ng and its samples."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

WORD: Final = 1
CLAUSE_END: Final = 5
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
"""The library tells every part of a number that it says: "1", "thousand", "2"."""


class Event(NamedTuple):
    """kind: WORD or CLAUSE_END. place, length: in characters of the text. sample: of the whole utterance."""

    kind: int
    place: int
    length: int
    sample: int


class Script(NamedTuple):
    """What the library is given.

    spoken: text or markup. plain: as long, with markup blanked out. spans: where each of its characters
    begins and ends in the request's text; None if it is that text.
    """

    spoken: str
    plain: str
    spans: Sequence[tuple[int, int]] | None = None


class Words:
    """Takes samples and events as they come; gives them on with the words.

    Samples are held back until it is known where the word in them ends. What the library calls a word is
    sometimes none: a part of a number or of an emoji's name, or the space before a word. Those belong to the
    word in whose text they lie.
    """

    def __init__(self, script: Script, emit: Any, tell: Any) -> None:
        self._text = script.plain
        self._spans = script.spans
        self._emit = emit
        self._tell = tell
        self._held = bytearray()
        self._n_given = 0  # samples, before those that are held
        self._word: tuple[int, int, int] | None = (
            None  # where it begins, how far it surely goes; first sample
        )
        self._early = False  # the word began with the space before it
        self._covered = 0  # up to here the request's text has been told

    def take(self, pcm: bytes, events: Sequence[Event]) -> None:
        """Take samples and the events in them."""
        self._held += pcm
        for kind, place, length, sample in events:
            if kind == WORD:
                self._begin(place, length, sample)
            elif kind == CLAUSE_END:
                self._end(sample, place + 1)
        if self._word is None:
            self._give(self._n_given + len(self._held) // 2)

    def finish(self) -> None:
        """Give on what is held."""
        end = self._n_given + len(self._held) // 2
        self._end(end, len(self._text))
        self._give(end)

    def _begin(self, index: int, length: int, sample: int) -> None:
        if self._names_emoji(index):
            return
        before = index
        while index < len(self._text) and self._text[index].isspace():
            index += 1
        early = index > before
        if self._early and self._word is not None and self._word[0] == index:
            self._word = None  # what seemed to be its beginning was more of the word before
        elif index >= len(self._text) or self._span(index)[0] < self._covered:
            return
        self._early = early
        self._end(sample, index)
        number = _NUMBER.match(self._text, index)
        sure = number.end() if number else index + len(self._text[index : index + max(1, length)].split()[0])
        self._word = index, sure, sample
        self._covered = self._span(sure - 1)[1]

    def _names_emoji(self, index: int) -> bool:
        """Tell whether what begins is more of an emoji's name: the library places that behind it."""
        emoji = self._word is not None and unicodedata.category(self._text[self._word[0]]) == "So"
        return emoji and (index >= len(self._text) or _is_mark(self._text[index]))

    def _end(self, sample: int, limit: int) -> None:
        """End the word that is heard, if one is: its sound at `sample`, its text at a space or `limit`."""
        if self._word is None:
            return
        first, end, start = self._word
        self._word = None
        while end < min(limit, len(self._text)) and not self._text[end].isspace():
            end += 1
        while end > first + 1 and _is_mark(self._text[end - 1]):
            end -= 1
        offset, text_end = self._span(first)[0], self._span(end - 1)[1]
        self._covered = max(self._covered, text_end)
        sound = self._held[2 * (start - self._n_given) : 2 * (sample - self._n_given)]
        n_silent = (len(sound) - len(sound.lstrip(b"\0"))) // 2
        n_heard = (len(sound.rstrip(b"\0")) + 1) // 2
        if n_heard and text_end > offset:
            self._tell(offset, text_end - offset, start + n_silent, start + n_heard)
        self._give(sample)

    def _give(self, up_to: int) -> None:
        n_bytes = 2 * (up_to - self._n_given)
        if n_bytes > 0:
            self._emit(bytes(self._held[:n_bytes]))
            del self._held[:n_bytes]
            self._n_given = up_to

    def _span(self, index: int) -> tuple[int, int]:
        """Return where a character of the script stands in the request's text."""
        return (index, index + 1) if self._spans is None else self._spans[index]


def _is_mark(character: str) -> bool:
    """Return whether it is punctuation or the like, not a letter, a number, a currency or a picture."""
    category = unicodedata.category(character)
    return category[0] in "PZC" or category in ("Sm", "Sk")
