"""Word times as a file: JSON, or captions for a player (SubRip and WebVTT)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from antiphon.events import Segment, Word

SUFFIXES: Final = ("json", "srt", "vtt")
MAX_CUE_CHARACTERS: Final = 80
"""Two lines of the width that players expect."""


def captions(suffix: str, text: str, segments: Sequence[Segment], words: Sequence[Word]) -> str:
    """Return the file whose name ends in `suffix`, one of SUFFIXES, for what was heard of `text`."""
    if suffix == "json":
        values = [{"word": _said(text, [word]), **_times(word)} for word in words]
        return json.dumps({"words": values}, ensure_ascii=False, indent=1) + "\n"
    cues = enumerate(_cues(text, segments, words), 1)
    if suffix == "srt":
        return "".join(
            f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{said}\n\n"
            for number, (start, end, said) in cues
        )
    escapes = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    return "WEBVTT\n\n" + "".join(
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{said.translate(escapes)}\n\n"
        for _, (start, end, said) in cues
    )


def _times(word: Word) -> dict[str, int]:
    return {
        "offset": word.offset,
        "length": word.length,
        "start_ms": word.start_ms,
        "end_ms": word.end_ms,
    }


def _cues(text: str, segments: Sequence[Segment], words: Sequence[Word]) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in ms, and what is shown: a segment, or as much of it as is not too long."""
    borders = {segment.offset + segment.length for segment in segments}
    cue: list[Word] = []
    for word in words:
        if cue and (
            any(cue[-1].offset < border <= word.offset for border in borders)
            or word.offset + word.length - cue[0].offset > MAX_CUE_CHARACTERS
        ):
            yield cue[0].start_ms, cue[-1].end_ms, _said(text, cue, word.offset)
            cue = []
        cue.append(word)
    if cue:
        yield cue[0].start_ms, cue[-1].end_ms, _said(text, cue, len(text))


def _said(text: str, words: Sequence[Word], end: int | None = None) -> str:
    """Return the text from the first word to the last; up to `end`, with the marks behind it."""
    last = words[-1].offset + words[-1].length
    return " ".join(text[words[0].offset : last if end is None else end].split())


def _clock(ms: int, mark: str) -> str:
    seconds, ms = divmod(ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{mark}{ms:03}"
