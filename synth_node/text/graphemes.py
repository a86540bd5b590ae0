"""Where a text may be cut without taking apart what people see as one character."""

from __future__ import annotations

import unicodedata
from typing import Final

_JOINER: Final = "\u200d"
_JOINS_BEFORE: Final = frozenset("\u200c\u200d\u0e33\u0eb3")
"""What belongs to the character before it although it is no mark."""
_PREPENDED: Final = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u08e2\U000110bd\U000110cd")
_VIRAMA: Final = 9
"""The combining class of what binds an Indic consonant to the next."""


def is_boundary(text: str, at: int, begin: int = 0) -> bool:
    """Tell whether `text` may be cut before the character `at`; begin: a place known to be a boundary.

    It follows the extended grapheme clusters, and keeps Indic conjuncts whole.

    Source: Unicode Standard Annex 29, 3.1.1.
    """
    if at <= begin or at >= len(text):
        return True
    before, after = text[at - 1], text[at]
    if after < "\u0300" and before < "\u0300":
        return not (before == "\r" and after == "\n")
    if after in _JOINS_BEFORE or unicodedata.category(after)[0] == "M" or _is_emoji_part(after):
        return False
    if before == _JOINER or before in _PREPENDED or unicodedata.combining(before) == _VIRAMA:
        return after.isspace()
    if _is_flag_half(before) and _is_flag_half(after):
        return _n_flag_halves(text, at, begin) % 2 == 0
    return not _is_in_syllable(before, after)


def _is_emoji_part(character: str) -> bool:
    """Tell whether this is a skin tone, or a tag that spells a region's flag."""
    return "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _n_flag_halves(text: str, at: int, begin: int) -> int:
    first = at
    while first > begin and _is_flag_half(text[first - 1]):
        first -= 1
    return at - first


def _is_in_syllable(before: str, after: str) -> bool:
    """Tell whether both are parts of one Hangul syllable."""
    if "\u1160" <= after <= "\u11ff" or "\ud7b0" <= after <= "\ud7ff":  # a vowel or a final consonant
        return _is_hangul(before)
    is_leading = "\u1100" <= before <= "\u115f" or "\ua960" <= before <= "\ua97c"
    return is_leading and _is_hangul(after)


def _is_hangul(character: str) -> bool:
    return (
        "\u1100" <= character <= "\u11ff"
        or "\ua960" <= character <= "\ua97c"
        or "\uac00" <= character <= "\ud7ff"
    )
