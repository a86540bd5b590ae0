"""An engine whose samples spell its text: a listener can tell what was said, in which order, how often.

Each character is N_SAMPLES samples of its code point. The voice is a number: seconds that a character takes.
"""

from __future__ import annotations

import array
import time
from collections.abc import Iterator

N_SAMPLES = 40
SAMPLE_RATE = 8000
_AT_ONCE = 25


def spelled(pcm: bytes) -> str:
    """Read what the samples spell; a character that is cut or mixed with another is a `#`."""
    samples = array.array("h", pcm)
    found = []
    for start in range(0, len(samples), N_SAMPLES):
        values = set(samples[start : start + N_SAMPLES])
        whole = len(values) == 1 and start + N_SAMPLES <= len(samples)
        found.append(chr(values.pop()) if whole else "#")
    return "".join(found)


def tts_api(text: str, *, voice: str | None = None) -> Iterator[bytes]:
    """Spell the text, a few characters at a time."""
    seconds_per_character = float(voice or 0)
    for start in range(0, len(text), _AT_ONCE):
        part = text[start : start + _AT_ONCE]
        time.sleep(seconds_per_character * len(part))
        yield array.array("h", [ord(c) for c in part for _ in range(N_SAMPLES)]).tobytes()


tts_api.sample_rate = SAMPLE_RATE  # type: ignore[attr-defined]
