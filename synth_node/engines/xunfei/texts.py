"""A text into pieces that one request can hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from antiphon.errors import InvalidRequest
from antiphon.sentences import each_sentence
from synth_node.text.graphemes import is_boundary

_LOOK_BACK: Final = 200
"""Characters in which white space is looked for where a sentence has to be cut."""


def pieces(text: str, encoding: str, most: int) -> Iterator[str]:
    """Yield `text` in pieces of at most `most` bytes in `encoding`; nothing of it is left out.

    They end at sentences, else at white space, else between two characters as people see them.

    Raises:
        InvalidRequest: a character is not in the encoding.
    """
    _check(text, encoding)
    begin = end = 0
    size = 0
    for sentence in each_sentence(text):
        n_bytes = len(sentence.encode(encoding))
        if size + n_bytes > most:
            if end > begin:
                yield text[begin:end]
            begin, size = end, 0
            while n_bytes > most:
                cut = _cut(text, begin, end + len(sentence), encoding, most)
                yield text[begin:cut]
                n_bytes -= len(text[begin:cut].encode(encoding))
                sentence, begin, end = text[cut : end + len(sentence)], cut, cut
        size += n_bytes
        end += len(sentence)
    if end > begin:
        yield text[begin:end]


def _check(text: str, encoding: str) -> None:
    try:
        text.encode(encoding)
    except UnicodeEncodeError as exc:
        character = f"U+{ord(text[exc.start]):04X}"
        raise InvalidRequest(
            f"the text holds {character}, which is not in {encoding}, and this model reads no other encoding",
            param="text",
        ) from None


def _cut(text: str, begin: int, stop: int, encoding: str, most: int) -> int:
    """Return the best place to end a piece that begins at `begin`; the text up to `stop` is too long."""
    low, high = begin + 1, min(stop, begin + most)
    while low < high:  # the longest piece that fits; its size grows with its length
        middle = (low + high + 1) // 2
        if len(text[begin:middle].encode(encoding)) <= most:
            low = middle
        else:
            high = middle - 1
    for at in range(low, max(begin, low - _LOOK_BACK), -1):
        if text[at - 1].isspace() and is_boundary(text, at, begin):
            return at
    return next((at for at in range(low, begin, -1) if is_boundary(text, at, begin)), low)
