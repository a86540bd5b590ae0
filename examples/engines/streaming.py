"""A streaming function: it yields samples while it makes the rest."""

import math
from array import array
from collections.abc import Iterator

PITCHES = {"low": 110.0, "high": 220.0}  # Hz


def tts_api(text: str, *, voice: str = "low", speed: float = 1.0) -> Iterator[bytes]:
    for letter in text:
        yield note(PITCHES[voice] * 2 ** (ord(letter) % 24 / 12), 0.12 / speed)


tts_api.sample_rate = 24_000  # Hz; says that it gives samples, not a file
tts_api.voices = ["low", "high"]  # any other voice is refused


def note(pitch: float, seconds: float) -> bytes:
    """Return 16-bit samples that fade in and out."""
    n = int(seconds * tts_api.sample_rate)
    step = 2 * math.pi * pitch / tts_api.sample_rate
    return array(
        "h", (int(9000 * math.sin(math.pi * i / n) * math.sin(step * i)) for i in range(n))
    ).tobytes()
