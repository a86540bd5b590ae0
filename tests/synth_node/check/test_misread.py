"""Bytes that are taken for samples, or for one file, and are something else."""

from __future__ import annotations

import random
from array import array

import pytest

from synth_node.check.misread import n_files, resembles
from tests.synth_node.support_sound import encoded, silence, tone

RATE = 16_000
VOICE = tone(0.5, RATE) + silence(0.1, RATE) + tone(0.5, RATE, 1200)


def floats(typecode: str, scale: float) -> bytes:
    return array(typecode, (sample / scale for sample in array("h", VOICE))).tobytes()


def swapped(pcm: bytes) -> bytes:
    samples = array("h", pcm)
    samples.byteswap()
    return samples.tobytes()


def interleaved(left: bytes, right: bytes) -> bytes:
    pairs = zip(array("h", left), array("h", right), strict=False)
    return array("h", (sample for pair in pairs for sample in pair)).tobytes()


@pytest.mark.parametrize(
    ("pcm", "found"),
    [
        (VOICE, None),
        (b"", None),
        (silence(1.0, RATE), None),
        (tone(1.0, RATE, 3000), None),
        (tone(0.01, RATE), None),
        (floats("f", 32768), "32-bit floating-point samples"),
        (floats("f", 1), "32-bit floating-point samples"),
        (floats("d", 32768), "64-bit floating-point samples"),
        (swapped(VOICE), "16-bit samples with the high byte first"),
        (interleaved(VOICE, VOICE), "two channels"),
        (interleaved(VOICE, bytes(len(VOICE))), "two channels"),
        (interleaved(tone(1.0, RATE, 300), tone(1.0, RATE, 440)), "two channels"),
        (random.Random(1).randbytes(RATE), "noise"),
        (encoded("wav", VOICE, RATE), "a WAV file"),
        (encoded("wav", VOICE, RATE) * 3, "3 WAV files"),
        (VOICE + encoded("wav", VOICE, RATE), "a WAV file"),
        (encoded("mp3", VOICE, RATE), "an mp3 file"),
        (encoded("flac", VOICE, RATE), "a file (flac)"),
        (encoded("opus", VOICE, RATE), "a file (opus)"),
    ],
)
def test_what_samples_are_is_found_out(pcm: bytes, found: str | None) -> None:
    assert resembles(pcm) == found


def test_a_pair_of_samples_that_looks_like_mp3_is_none() -> None:
    start = encoded("mp3", VOICE, RATE)[:4]
    assert resembles(start + VOICE) is None


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "opus", "aac"])
def test_one_file_is_one(format: str) -> None:
    assert n_files(encoded(format, VOICE, RATE), format) == 1


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "opus"])
def test_files_behind_each_other_are_counted(format: str) -> None:
    assert n_files(encoded(format, VOICE, RATE) + encoded(format, VOICE, RATE), format) == 2
