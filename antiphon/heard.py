"""What a listener has heard of an utterance, over all of its runs. No I/O."""

from __future__ import annotations

from dataclasses import replace

from antiphon.events import AudioChunk, Position, Segment, Words
from antiphon.request import Resume


class Heard:
    """Follows the events of one run after another, and makes one account of them.

    before_ms: duration of what came from the runs before this one.
    """

    def __init__(self) -> None:
        self.before_ms = 0
        self._at: Position | None = None
        self._offsets: dict[int, int] = {}  # segment -> its first character, from the listener's on
        self._last_segment = -1
        self._last_word = self._told_word = -1

    def note(self, event: AudioChunk | Segment | Words) -> bytes | Segment | Words | None:
        """Return what the listener is to be given for an event; None if it has been told before."""
        match event:
            case AudioChunk(audio=audio, at=at):
                self._at = at
                if at is not None:
                    self._offsets = {i: offset for i, offset in self._offsets.items() if i >= at.segment}
                return audio
            case Segment(index=index, offset=offset):
                self._offsets[index] = offset
                if index <= self._last_segment:
                    return None
                self._last_segment = index
                return event
            case Words(words):
                new = tuple(
                    replace(w, start_ms=w.start_ms + self.before_ms, end_ms=w.end_ms + self.before_ms)
                    for w in words
                    if w.offset > self._told_word
                )
                if not new:
                    return None
                self._last_word = max(self._last_word, new[-1].offset)
                return Words(new)

    def resume(self) -> Resume | None:
        """Return where another run has to go on; None if that is not known."""
        if self._at is None or self._at.segment not in self._offsets:
            return None
        self.before_ms += round(1000 * self._at.run_s)
        self._told_word = self._last_word
        resume = Resume(self._offsets[self._at.segment], self._at.seconds)
        self._at = replace(self._at, run_s=0.0)
        return resume
