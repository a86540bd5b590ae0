"""Finds out what bytes are that are given as samples, or as one file, but are something else. No I/O."""

from __future__ import annotations

import sys
from array import array
from operator import sub
from typing import Final

from antiphon.mp3 import FrameCounter, is_frame_header
from synth_node.audio.sniff import sniff
from synth_node.check.sound import roughness, samples_of

_LOOKED_AT_BYTES: Final = 1024 * 1024
_MIN_SAMPLES: Final = 200
_SHARE: Final = 0.9
_SMALLEST: Final = 1e-6
_LARGEST: Final = 40_000.0
"""Floating-point samples lie between -1 and 1, or are 16-bit numbers; other bytes make any number."""
_ROUGH: Final = 1.0
_NOISE: Final = 1.15
_MIN_FRAMES: Final = 3


def resembles(pcm: bytes) -> str | None:
    """Return what bytes are that ought to be mono s16le samples and are not; None if nothing says so."""
    if container := _container(pcm):
        return container
    looked_at = pcm[:_LOOKED_AT_BYTES]
    samples = samples_of(looked_at)
    if len(samples) < _MIN_SAMPLES or not any(samples):
        return None
    # The long ones first: half of one may pass for a short one.
    for typecode, name in (("d", "64-bit floating-point samples"), ("f", "32-bit floating-point samples")):
        if _is_floating(looked_at, typecode):
            return name
    swapped = array("h", samples)
    swapped.byteswap()
    rough = roughness(samples)
    if rough > _ROUGH and roughness(swapped) < rough / 2:
        return "16-bit samples with the high byte first"
    if _is_stereo(samples):
        return "two channels"
    return "noise" if rough > _NOISE else None


def _container(pcm: bytes) -> str | None:
    n_wav = n_wav_headers(pcm)
    if n_wav > 1:
        return f"{n_wav} WAV files"
    if n_wav:
        return "a WAV file"
    if is_frame_header(pcm) and _is_mp3(pcm):  # such a beginning is just as well a pair of samples
        return "an mp3 file"
    found = None if is_frame_header(pcm) else sniff(pcm)
    return None if found in (None, "aac", "mp4") else f"a file ({found})"


def _is_mp3(data: bytes) -> bool:
    counter = FrameCounter()
    try:
        counter.feed(data[:_LOOKED_AT_BYTES])
    except ValueError:
        return False
    return counter.n_frames >= _MIN_FRAMES


def _is_floating(data: bytes, typecode: str) -> bool:
    numbers: array[float] = array(typecode)
    numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    if sys.byteorder == "big":
        numbers.byteswap()
    nonzero: list[float] = [abs(number) for number in numbers if number]
    n_plausible = sum(1 for number in nonzero if _SMALLEST < number < _LARGEST)
    return bool(len(nonzero) >= _MIN_SAMPLES // 4 and n_plausible >= _SHARE * len(nonzero))


def _is_stereo(samples: array[int]) -> bool:
    """Tell whether every second sample belongs to another channel."""
    left, right = samples[0 : len(samples) & ~1 : 2], samples[1::2]
    sizes = sorted(sum(map(abs, channel)) for channel in (left, right))
    if sizes[0] < sizes[1] / 4:
        return True
    within = sum(map(abs, map(sub, left, right)))
    across = sum(map(abs, map(sub, left[1:], right)))
    if min(within, across) < max(within, across) / 10:
        return True
    # Of one channel, two neighbours are closer to each other than one is to the next but one.
    apart = sum(map(abs, map(sub, samples[2:], samples)))
    return bool(apart < (within + across) / 2)


def n_wav_headers(data: bytes) -> int:
    """Count the heads of WAV files, wherever in `data`."""
    count, at = 0, data.find(b"RIFF")
    while at >= 0:
        count += data[at + 8 : at + 12] == b"WAVE"
        at = data.find(b"RIFF", at + 4)
    return count


def n_files(data: bytes, format: str) -> int:
    """Return how many files of a format follow each other in what should be one; 1 if that cannot be told.

    format: as `sniff` returns it.
    """
    if format == "wav":
        return n_wav_headers(data)
    if format == "flac":
        return data.count(b"fLaC\0\0\0\x22") + data.count(b"fLaC\x80\0\0\x22")
    if format == "mp3":
        return max(1, data.count(b"ID3\x03\0"), data.count(b"ID3\x04\0"), data.count(b"Info\0\0\0"))
    if format in ("ogg", "opus"):
        return _n_ogg_streams(data)
    return 1


def _n_ogg_streams(data: bytes) -> int:
    """Count the groups of pages that begin a stream. Source: RFC 3533, 6."""
    count, begins, at = 0, False, 0
    while data[at : at + 4] == b"OggS" and len(data) >= at + 27:
        first_page = bool(data[at + 5] & 2)
        count += first_page and not begins
        begins = first_page
        n_segments = data[at + 26]
        at += 27 + n_segments + sum(data[at + 27 : at + 27 + n_segments])
    return max(count, 1)
