"""A function that needs a package which Antiphon does not have: numpy."""

from __future__ import annotations  # its own Python may be 3.8

from collections.abc import Iterator

import numpy as np


def tts_api(text: str) -> Iterator[np.ndarray]:
    times = np.arange(2400) / tts_api.sample_rate
    for letter in text:
        pitch = 110.0 * 2 ** (ord(letter) % 24 / 12)
        yield (9000 * np.sin(2 * np.pi * pitch * times)).astype(np.int16)


tts_api.sample_rate = 24_000
