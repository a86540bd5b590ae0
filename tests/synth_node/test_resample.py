"""Samples at one rate become as many as they last at another."""

from __future__ import annotations

from array import array

import pytest

from synth_node.audio.resample import Resampler
from tests.synth_node.support_sound import cut, loudness, silence, tone

PAIRS = [(8000, 48_000), (22_050, 24_000), (44_100, 48_000), (48_000, 8000), (384_000, 48_000), (1000, 8000)]


def resampled(pcm: bytes, in_rate: int, out_rate: int, n_bytes: int = 3000) -> bytes:
    resampler = Resampler(in_rate, out_rate)
    out = b"".join(map(resampler.resample, cut(pcm, n_bytes))) + resampler.flush()
    assert resampler.n_out == len(out) // 2
    return out


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_there_are_as_many_samples_as_the_sound_lasts(in_rate: int, out_rate: int) -> None:
    for n_samples in (1, 2, 15, 16, 17, 333, in_rate, in_rate + 1):
        n_out = len(resampled(bytes(2 * n_samples), in_rate, out_rate)) // 2
        assert 0 <= n_out - n_samples * out_rate / in_rate < 1, n_samples


@pytest.mark.parametrize(("in_rate", "out_rate"), PAIRS)
def test_sound_stays_where_it_was(in_rate: int, out_rate: int) -> None:
    pcm = silence(0.3, in_rate) + tone(0.3, in_rate, 100)
    out = array("h", resampled(pcm, in_rate, out_rate))
    assert out == array("h", resampled(pcm, in_rate, out_rate, n_bytes=len(pcm)))
    middle = round(0.3 * out_rate)
    assert loudness(out[: middle - round(0.04 * out_rate)]) < 30
    assert loudness(out[middle:]) == pytest.approx(12_000 / 2**0.5, rel=0.05)
    assert loudness(out[-round(0.01 * out_rate) :]) > 6000


def test_a_sound_shorter_than_the_filter_is_not_lost() -> None:
    assert loudness(array("h", resampled(tone(0.001, 8000), 8000, 48_000))) > 2000
