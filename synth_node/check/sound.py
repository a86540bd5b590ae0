"""What mono 16-bit samples sound like, in numbers: level, clipping, silence. No codec, no I/O."""

from __future__ import annotations

import math
import sys
from array import array
from dataclasses import dataclass
from itertools import groupby
from operator import mul, sub
from typing import Final

FULL_SCALE: Final = 32_768
_JUMP: Final = FULL_SCALE * 3 // 2
"""From one sample to the next, sound hardly ever goes so far, but a number that overflows does."""
_FLAT_SAMPLES: Final = 3
"""So many equal samples in a row at the extreme are a peak that was cut off."""
_LOUD: Final = FULL_SCALE // 4
"""Below this, equal samples at the extreme are what quantization makes of a soft sound."""
_WINDOW_S: Final = 0.01
_SILENT: Final = 104  # -50 dB of full scale
_NOISE_FLOOR: Final = 16
_BELOW_PEAK: Final = 100  # -40 dB
_MEASURED_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sound:
    """What some samples sound like.

    duration_s: of all of it; the rest is measured on the first minute. peak, level (root mean square) and
    offset (mean): 1 is full scale. clipped: share of the samples that lie in peaks cut off flat.
    n_jumps: how often a sample is at the other end of the scale than the one before it.
    roughness: mean step from sample to sample over the mean size of a sample; 1.3 is white noise.
    lead_s, tail_s: silence before and behind the sound; both are all of it if it is all silent.
    """

    duration_s: float
    peak: float = 0.0
    level: float = 0.0
    offset: float = 0.0
    clipped: float = 0.0
    n_jumps: int = 0
    roughness: float = 0.0
    lead_s: float = 0.0
    tail_s: float = 0.0

    @property
    def speech_s(self) -> float:
        """Duration without the silence around it."""
        return max(0.0, self.duration_s - self.lead_s - self.tail_s)


def samples_of(pcm: bytes) -> array[int]:
    """Return s16le samples as numbers; half a sample at the end is left out."""
    samples = array("h", pcm[: len(pcm) & ~1])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def measure(pcm: bytes, sample_rate: int) -> Sound:
    """Measure mono s16le samples; sample_rate in Hz. Takes half a second for a minute of audio."""
    duration_s = len(pcm) // 2 / sample_rate
    samples = samples_of(pcm[: 2 * round(_MEASURED_S * sample_rate)])
    if not any(samples):
        return Sound(duration_s, lead_s=duration_s, tail_s=duration_s)
    low, high = min(samples), max(samples)
    peak = max(high, -low)
    steps = list(map(abs, map(sub, samples[1:], samples)))
    silent = min(_SILENT, max(_NOISE_FLOOR, peak // _BELOW_PEAK))
    lead_s = _silence_s(samples, sample_rate, silent)
    # What was not measured is taken for sound.
    is_whole = 2 * len(samples) >= len(pcm) & ~1
    tail_s = _silence_s(samples[::-1], sample_rate, silent) if is_whole else 0.0
    return Sound(
        duration_s,
        peak=peak / FULL_SCALE,
        level=math.sqrt(sum(map(mul, samples, samples)) / len(samples)) / FULL_SCALE,
        offset=sum(samples) / len(samples) / FULL_SCALE,
        clipped=_n_flat(samples, low, high) / len(samples),
        n_jumps=sum(map(_JUMP.__lt__, steps)),
        roughness=roughness(samples),
        lead_s=lead_s,
        tail_s=tail_s,
    )


def roughness(samples: array[int]) -> float:
    """Return the mean step from sample to sample over the mean size of a sample; 0 for silence."""
    size = sum(map(abs, samples))
    return sum(map(abs, map(sub, samples[1:], samples))) / size if size else 0.0


def _n_flat(samples: array[int], low: int, high: int) -> int:
    """Count the samples in runs of equal ones at the highest or the lowest value."""
    extremes = [extreme for extreme in (low, high) if abs(extreme) >= _LOUD]
    if sum(map(samples.count, extremes)) < _FLAT_SAMPLES:
        return 0
    runs = (len(list(run)) for value, run in groupby(samples) if value in extremes)
    return sum(length for length in runs if length >= _FLAT_SAMPLES)


def _silence_s(samples: array[int], sample_rate: int, silent: int) -> float:
    """Return how long it is silent at the beginning, exact to a window."""
    window = max(1, round(_WINDOW_S * sample_rate))
    for start in range(0, len(samples), window):
        part = samples[start : start + window]
        if max(part) > silent or -min(part) > silent:
            return start / sample_rate
    return len(samples) / sample_rate


def decibels(share: float) -> float:
    """Return a share of full scale in dB; of 0 a number that is far below any sound."""
    return 20 * math.log10(max(share, 1e-6))
