"""An engine for demos and tests: a pure sine, as long as the text. Standard library only."""

from __future__ import annotations

import array
import math
import re
import sys
from types import SimpleNamespace
from typing import Any, Dict  # noqa: UP035  (Python 3.8)

SECONDS_PER_CHARACTER = 0.06
CHUNK_SAMPLES = 2205  # 100 ms
AMPLITUDE = 12_000
PITCHES = {"a4": 440, "a3": 220, "c5": 523, "a5": 880}  # voice -> Hz; the first is the default


class Engine:
    """Speaks 60 ms of one pitch per character, divided by the speed; the same request is the same samples."""

    name = "tone"
    sample_rate = 22050
    words = True
    voices = [(voice, f"{hertz} Hz", "") for voice, hertz in PITCHES.items()]  # noqa: RUF012

    def __init__(self) -> None:
        self._seconds: Dict[str, bytes] = {}  # noqa: UP006  (Python 3.8)

    def has_voice(self, voice: str) -> bool:
        """Return whether there is such a pitch."""
        return voice in PITCHES

    def speak_to(self, request: SimpleNamespace, emit: Any) -> None:
        """Emit the samples in chunks of 100 ms; a word is what stands between white space."""
        second = self._second(request.voice or next(iter(PITCHES)))
        samples_per_character = SECONDS_PER_CHARACTER / request.speed * self.sample_rate
        words = re.finditer(r"\S+", request.text) if request.timestamps else iter(())
        word = next(words, None)
        start, total = 0, round(len(request.text) * samples_per_character)
        while start < total:
            in_second = start % self.sample_rate
            n_samples = min(CHUNK_SAMPLES, total - start, self.sample_rate - in_second)
            while word is not None and round(word.start() * samples_per_character) < start + n_samples:
                begin, end = (round(i * samples_per_character) for i in word.span())
                emit.word(word.start(), len(word.group()), begin, end)
                word = next(words, None)
            emit(second[2 * in_second : 2 * (in_second + n_samples)])
            start += n_samples

    def _second(self, voice: str) -> bytes:
        """Return one second of the pitch: a whole number of periods, so that it repeats without a click."""
        if voice not in self._seconds:
            step = 2 * math.pi * PITCHES[voice] / self.sample_rate
            samples = array.array(
                "h", (round(AMPLITUDE * math.sin(step * i)) for i in range(self.sample_rate))
            )
            if sys.byteorder == "big":
                samples.byteswap()
            self._seconds[voice] = samples.tobytes()
        return self._seconds[voice]
