"""A file whose encoder was lost with its node, and another that went on from there."""

from __future__ import annotations

import pytest

from antiphon.errors import UnsupportedFormat
from antiphon.request import CONTENT_TYPES
from synth_node.audio.encode import make_encoder
from tests.synth_node.support_sound import cut, decoded, encoder, loudness, silence, tone

CONTINUED = tuple(format for format in CONTENT_TYPES if format != "flac")
JOINT_S = {"mp3": 0.06, "aac": 0.04}
"""Silence at the joint, where the format cannot tell a player to leave it out."""


def lost_and_continued(
    format: str, pcm: bytes, rate: int, lost_at: tuple[int, ...]
) -> tuple[bytes, list[float]]:
    """Return the bytes of several encoders, and where in the sound each one began.

    lost_at: the bytes of `pcm` that each of them got before it was lost; the last one ends the file.
    """
    file, start, starts = b"", 0, []
    for n_bytes in (*lost_at, len(pcm)):
        made = encoder(format, rate, continued=start > 0)
        starts.append(start / 2 / rate)
        file += b"".join(map(made.encode, cut(pcm[start : start + n_bytes], 999)))
        if start + n_bytes >= len(pcm):
            return file + made.flush(), starts
        start += 2 * int(made.audible_s * rate)
        made.close()
    raise AssertionError("the last one ends the file")


@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
@pytest.mark.parametrize("format", CONTINUED)
def test_another_encoder_goes_on_where_the_lost_one_was_heard(format: str, rate: int) -> None:
    pcm = tone(3, rate)
    file, starts = lost_and_continued(format, pcm, rate, (2 * rate, rate + 77))
    assert len(starts) == 3
    samples, out_rate = decoded(file, format, rate)
    surplus_s = len(samples) / out_rate - 3
    assert -0.002 <= surplus_s <= 0.1 + 2 * JOINT_S.get(format, 0.0) * (2 if rate == 8000 else 1)
    n_quiet = sum(
        loudness(samples[i : i + out_rate // 100]) < 1000 for i in range(0, len(samples), out_rate // 100)
    )
    assert n_quiet / 100 <= surplus_s + 0.03


@pytest.mark.parametrize("format", CONTINUED)
def test_nothing_is_said_twice_and_nothing_is_missing(format: str) -> None:
    rate, beat = 24_000, tone(0.1, 24_000) + silence(0.2, 24_000)
    file, _ = lost_and_continued(format, 8 * beat, rate, (12 * rate // 5,))  # between two beats
    samples, out_rate = decoded(file, format, rate)
    step = out_rate // 50
    loud = [loudness(samples[i : i + step]) > 2000 for i in range(0, len(samples), step)]
    assert sum(now and not before for before, now in zip([False, *loud], loud, strict=False)) == 8


def test_there_is_no_second_header() -> None:
    pcm = tone(0.5, 22_050)
    mp3, wav = (encoder(format, 22_050, continued=True).encode(pcm) for format in ("mp3", "wav"))
    assert wav == pcm
    assert b"Info" not in mp3
    assert mp3[0] == 0xFF


def test_each_ogg_stream_has_a_serial_number_of_its_own() -> None:
    heads = [
        encoder("opus", 16_000, continued=continued).encode(tone(0.3, 16_000)) for continued in (False, True)
    ]
    assert heads[0][:4] == heads[1][:4] == b"OggS"
    assert heads[0][14:18] != heads[1][14:18]


def test_flac_cannot_be_continued() -> None:
    with pytest.raises(UnsupportedFormat, match="continued"):
        make_encoder("flac", in_rate=16_000, sample_rate=None, bit_rate=64_000, continued=True)
