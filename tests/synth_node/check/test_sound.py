"""What samples sound like, in numbers."""

from __future__ import annotations

import random
from array import array

import pytest

from synth_node.check.sound import Sound, decibels, measure
from tests.synth_node.support_sound import silence, tone

RATE = 16_000


def changed(pcm: bytes, gain: float = 1.0, offset: int = 0, limit: int = 32767) -> bytes:
    samples = (round(gain * sample) + offset for sample in array("h", pcm))
    return array("h", (max(-limit - 1, min(limit, sample)) for sample in samples)).tobytes()


def test_a_tone_is_measured() -> None:
    sound = measure(tone(1.0, RATE), RATE)
    assert sound.duration_s == sound.speech_s == 1.0
    assert sound.peak == pytest.approx(12_000 / 32_768, rel=0.001)
    assert sound.level == pytest.approx(sound.peak / 2**0.5, rel=0.001)
    assert sound.offset == pytest.approx(0, abs=0.001)
    assert (sound.clipped, sound.n_jumps, sound.lead_s, sound.tail_s) == (0, 0, 0, 0)
    assert sound.roughness == pytest.approx(2 * 3.1416 * 440 / RATE, rel=0.01)


@pytest.mark.parametrize("n_bytes", [0, 1])
def test_nothing_is_no_sound(n_bytes: int) -> None:
    assert measure(bytes(n_bytes), RATE) == Sound(0.0)


def test_silence_is_silent_from_both_ends() -> None:
    assert measure(silence(2.0, RATE), RATE) == Sound(2.0, lead_s=2.0, tail_s=2.0)


@pytest.mark.parametrize(("before_s", "behind_s"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.25), (1.0, 2.0)])
def test_silence_around_the_sound_is_measured(before_s: float, behind_s: float) -> None:
    pcm = silence(before_s, RATE) + tone(1.0, RATE) + silence(behind_s, RATE)
    sound = measure(pcm, RATE)
    assert sound.lead_s == pytest.approx(before_s, abs=0.011)
    assert sound.tail_s == pytest.approx(behind_s, abs=0.011)
    assert sound.speech_s == pytest.approx(1.0, abs=0.022)


def test_the_noise_of_a_room_is_silence_and_a_soft_voice_is_none() -> None:
    room = array("h", (random.Random(1).randrange(-40, 41) for _ in range(RATE))).tobytes()
    assert measure(room + tone(1.0, RATE), RATE).lead_s == pytest.approx(1.0, abs=0.011)
    assert measure(silence(1.0, RATE) + changed(tone(1.0, RATE), 0.01), RATE).speech_s == pytest.approx(
        1.0, abs=0.022
    )


@pytest.mark.parametrize(
    ("gain", "limit", "share"),
    [(1.0, 32767, 0.0), (2.7, 32767, 0.0), (3.0, 32767, 0.27), (30.0, 32767, 0.94), (3.0, 16000, 0.71)],
)
def test_flat_peaks_are_clipping_at_whatever_level(gain: float, limit: int, share: float) -> None:
    assert measure(changed(tone(1.0, RATE), gain, limit=limit), RATE).clipped == pytest.approx(
        share, abs=0.02
    )


def test_flat_peaks_of_a_soft_sound_are_its_quantization() -> None:
    assert measure(changed(tone(1.0, RATE), 0.001), RATE).clipped == 0


def test_numbers_that_overflow_jump() -> None:
    wrapped = ((4 * sample + 32768) % 65536 - 32768 for sample in array("h", tone(1.0, RATE)))
    assert measure(array("h", wrapped).tobytes(), RATE).n_jumps >= 440


@pytest.mark.parametrize("offset", [-3000, 3000])
def test_an_offset_is_the_mean(offset: int) -> None:
    sound = measure(changed(tone(1.0, RATE), offset=offset), RATE)
    assert sound.offset == pytest.approx(offset / 32_768, rel=0.01)


def test_white_noise_is_rough() -> None:
    assert measure(random.Random(1).randbytes(2 * RATE), RATE).roughness == pytest.approx(4 / 3, rel=0.02)


def test_of_a_long_sound_the_first_minute_is_measured() -> None:
    sound = measure(tone(1.0, 8000) * 61 + silence(1.0, 8000), 8000)
    assert sound.duration_s == 62.0
    assert sound.tail_s == 0.0, "nobody has looked there"


@pytest.mark.parametrize(("share", "db"), [(1.0, 0.0), (0.5, -6.02), (0.1, -20.0), (0.0, -120.0)])
def test_decibels_are_of_full_scale(share: float, db: float) -> None:
    assert decibels(share) == pytest.approx(db, abs=0.01)
