"""An engine whose audio tells which model spoke.

Its voice is how many seconds it takes for a character, or a file: all but the first sentence waits for that.
"""

import array
import os
import time

FIRST = "The first sentence."
SAMPLE_RATE = 16_000
SAMPLES_PER_CHARACTER = 160
LEVELS = {"espeak": 1000, "espeak-next": 2000}  # model -> every sample of its audio


def tts_api(text: str, voice: str) -> bytes:
    if "/" not in voice:
        time.sleep(float(voice or 0.0) * len(text))
    while "/" in voice and FIRST not in text and not os.path.exists(voice):
        time.sleep(0.005)
    level = LEVELS[os.environ["MODEL"]]
    return array.array("h", [level] * (SAMPLES_PER_CHARACTER * len(text))).tobytes()


tts_api.sample_rate = SAMPLE_RATE  # type: ignore[attr-defined]
