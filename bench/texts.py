"""Prose to be spoken: the same for every run, as long as it is wanted."""

from __future__ import annotations

from itertools import cycle
from typing import Final

SENTENCES: Final = (
    "The harbour was quiet when the first boats came in.",
    "Nobody had expected them before noon, and the men who were to unload them had gone home to sleep.",
    "A boy ran along the quay and called out their names, as if he read them from a list that only he saw.",
    "What had they brought?",
    "Mostly herring, a little cod, and in the last of them, under a wet sail, a piano.",
    "It had lost two of its legs, but Mr. Harris, who knew about such things, struck a key and nodded.",
    "By the evening everybody had heard of it; by the next morning it stood in the school, on three bricks.",
    "“It will never be right,” he said, and went on turning.",
    "In 1912 a good instrument cost about $400, which was more than the teacher earned in a year.",
    "So it stayed.",
    "The children learned their songs on it, and once, in March, a stranger sat down and played for an hour.",
    "Then he thanked them, put on his hat and left for the station.",
)
FIRST: Final = SENTENCES[0]


def prose(n_words: int) -> str:
    """Return whole sentences with at least `n_words` words, in paragraphs of six; FIRST is the first."""
    said: list[str] = []
    n = 0
    for number, sentence in enumerate(cycle(SENTENCES)):
        if n >= n_words:
            break
        said.append(("\n\n" if number and number % 6 == 0 else " " * bool(number)) + sentence)
        n += len(sentence.split())
    return "".join(said)
