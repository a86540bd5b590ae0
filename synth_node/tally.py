"""What a node has done, and how fast."""

from __future__ import annotations


class Tally:
    """What a node has done. Means are moving: each utterance counts a twentieth."""

    def __init__(self) -> None:
        self.synthesized = 0
        self.failed = 0
        self.busy_s = 0.0
        self.last_error = ""
        self._means = {"seconds": 0.0, "characters": 0.0, "audio_s": 0.0}

    def add(self, *, seconds: float, characters: int, audio_s: float) -> None:
        """Count a finished utterance."""
        weight = 1.0 if self.synthesized == 0 else 0.05
        new = {"seconds": seconds, "characters": float(characters), "audio_s": audio_s}
        for key, value in new.items():
            self._means[key] += weight * (value - self._means[key])
        self.synthesized += 1
        self.busy_s += seconds

    @property
    def seconds_per_character(self) -> float:
        """Slot seconds per character of text."""
        return min(self._means["seconds"] / max(self._means["characters"], 1.0), 3600.0)

    @property
    def real_time_factor(self) -> float:
        """Slot seconds per second of audio; 0.0 without audio."""
        return self._means["seconds"] / self._means["audio_s"] if self._means["audio_s"] else 0.0
