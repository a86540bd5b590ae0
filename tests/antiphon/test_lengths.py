"""Complete files that tell their length; nothing else in them changes."""

from __future__ import annotations

import io
import math
import wave
from array import array

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.lengths import with_length
from antiphon.request import CONTENT_TYPES
from synth_node.audio.encode import make_encoder

FORMATS = tuple(CONTENT_TYPES)


def sound(n_samples: int) -> bytes:
    return array(
        "h", (round(9000 * math.sin(0.1 * i) * math.sin(0.0007 * i)) for i in range(n_samples))
    ).tobytes()


def encoded(format: str, n_samples: int, rate: int) -> bytes:
    encoder = make_encoder(format, in_rate=rate, sample_rate=None, bit_rate=64_000)
    pcm = sound(n_samples)
    return b"".join(encoder.encode(pcm[i : i + 2000]) for i in range(0, len(pcm), 2000)) + encoder.flush()


def told_s(file: bytes) -> float:
    """Return the duration in seconds that a file's head tells, without decoding it."""
    with av.open(io.BytesIO(file), "r") as container:
        return (container.duration or 0) / 1e6


@pytest.mark.parametrize("rate", [1000, 8000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("n_samples", [1, 15, 1103, 2206, 22_050, 150_001])
def test_flac_tells_its_samples(n_samples: int, rate: int) -> None:
    streamed = encoded("flac", n_samples, rate)
    complete = with_length(streamed, "flac")
    assert told_s(complete) == pytest.approx(n_samples / rate, abs=1e-5)
    assert (complete[:21], complete[26:]) == (streamed[:21], streamed[26:])
    assert with_length(complete, "flac") == complete


def test_a_streamed_flac_does_not_tell_its_samples_by_itself() -> None:
    assert told_s(encoded("flac", 150_000, 22_050)) == 0


@pytest.mark.parametrize("n_samples", [1, 22_050])
def test_wav_tells_its_bytes(n_samples: int) -> None:
    streamed = encoded("wav", n_samples, 22_050)
    complete = with_length(streamed, "wav")
    assert len(complete) == 44 + 2 * n_samples
    assert int.from_bytes(complete[4:8], "little") == len(complete) - 8
    assert (complete[8:40], complete[44:]) == (streamed[8:40], streamed[44:])
    with wave.open(io.BytesIO(complete)) as file:
        assert (file.getnframes(), file.getframerate(), file.getnchannels()) == (n_samples, 22_050, 1)
        assert file.readframes(n_samples) == sound(n_samples)
    assert with_length(complete, "wav") == complete


def test_wav_with_other_chunks_in_front_tells_its_bytes() -> None:
    streamed = encoded("wav", 100, 8000)
    streamed = streamed[:36] + b"LIST\5\0\0\0abcde\0" + streamed[36:]
    assert told_s(with_length(streamed, "wav")) == pytest.approx(100 / 8000)


def test_mp3_tells_its_frames() -> None:
    streamed = encoded("mp3", 44_100, 22_050)
    assert 2 <= told_s(with_length(streamed, "mp3")) < 2.1


@pytest.mark.parametrize("format", ["opus", "aac", "pcm"])
def test_the_others_stay_as_they_are(format: str) -> None:
    file = encoded(format, 9000, 16_000)
    assert with_length(file, format) is file


N_SAMPLES, BLOCK = 6001, 1102
FILES = {format: encoded(format, N_SAMPLES, 22_050) for format in FORMATS}


@given(st.sampled_from(FORMATS), st.binary(max_size=200), st.data())
def test_what_is_no_such_file_stays_as_it_is(format: str, noise: bytes, data: st.DataObject) -> None:
    assert with_length(noise, format) == noise
    of_another = data.draw(st.sampled_from([name for name in FILES if name != format]))
    assert with_length(FILES[of_another] + noise, format) == FILES[of_another] + noise


@given(st.sampled_from(("wav", "flac")), st.data())
def test_a_broken_file_keeps_all_but_its_lengths(format: str, data: st.DataObject) -> None:
    file = bytearray(FILES[format])
    for _ in range(data.draw(st.integers(0, 4))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    broken = bytes(file[: data.draw(st.integers(0, len(file)))])
    out = with_length(broken, format)
    assert len(out) == len(broken)
    changed = {i for i in range(len(out)) if out[i] != broken[i]}
    assert changed <= ({*range(4, 8), *range(40, 44)} if format == "wav" else {*range(21, 26)})


@given(st.integers(1, 4000))
def test_a_flac_that_breaks_off_is_given_the_length_of_its_whole_blocks_or_none(n_missing: int) -> None:
    complete = with_length(FILES["flac"][:-n_missing], "flac")
    n_samples = int.from_bytes(complete[21:26], "big") & 0xF_FFFF_FFFF
    assert n_samples < N_SAMPLES
    assert n_samples % BLOCK == 0
