"""What an engine is checked with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_TEXTS: Final = (
    "Good morning, and welcome to our little station.",
    "The train to the coast leaves at nine, and we will be there long before it gets dark.",
)
DEFAULT_UTTERANCES: Final = 10
DEFAULT_TIMEOUT_S: Final = 300.0
LONG_CHARACTERS: Final = 2000
# Source of both: read-aloud speech, 150 to 180 words, or about 260 characters of Chinese, a minute.
_CHARACTER_S: Final = 0.065
_IDEOGRAPH_S: Final = 0.23
_FIRST_IDEOGRAPH: Final = "\u2e80"


@dataclass(frozen=True, slots=True)
class Wish:
    """texts: to be spoken, one after another, at least one. utterances: of them, at least.

    timeout_s: for all of the check.
    """

    texts: tuple[str, ...] = DEFAULT_TEXTS
    utterances: int = DEFAULT_UTTERANCES
    timeout_s: float = DEFAULT_TIMEOUT_S


def usual_s(text: str) -> float:
    """Return how long a text usually lasts when it is read aloud, in seconds."""
    return sum(_IDEOGRAPH_S if character >= _FIRST_IDEOGRAPH else _CHARACTER_S for character in text)


def long_text(texts: tuple[str, ...], n_characters: int) -> str:
    """Return about so many characters of what `texts` say, again and again."""
    sentences = " ".join(texts) + " "
    return (sentences * (n_characters // len(sentences) + 1))[:n_characters].strip()
