"""An engine for demos and tests: a pure sine, as long as the text. Standard library only."""

from __future__ import annotations

import array
import math
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
    voices = [(voice, f"{hertz} Hz", "") for voice, hertz in PITCHES.items()]  # noqa: RUF012

    def __init__(self) -> None:
        self._seconds: Dict[str, bytes] = {}  # noqa: UP006  (Python 3.8)

    def has_voice(self, voice: str) -> bool:
        """Return whether there is such a pitch."""
        return voice in PITCHES

    def speak_to(self, request: SimpleNamespace, emit: Any) -> None:
        """Emit the samples in chunks of 100 ms."""
        second = self._second(request.voice or next(iter(PITCHES)))
        rest = round(len(request.text) * SECONDS_PER_CHARACTER / request.speed * self.sample_rate)
        start = 0
        while rest > 0:
            n_samples = min(CHUNK_SAMPLES, rest, self.sample_rate - start)
            emit(second[2 * start : 2 * (start + n_samples)])
            start = (start + n_samples) % self.sample_rate
            rest -= n_samples

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
