"""Every format of a request, made from samples at any rate; heard through decoders that are not ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from itertools import product

import pytest

from antiphon.errors import InvalidRequest, UnsupportedFormat
from antiphon.request import CONTENT_TYPES
from synth_node.audio.encode import check_format, make_encoder
from synth_node.audio.sniff import sniff
from tests.synth_node.support_sound import (
    cut,
    decoded,
    encoded,
    encoder,
    ffmpeg_decoded,
    loudness,
    silence,
    tone,
)

FORMATS = tuple(CONTENT_TYPES)
RATES = (8000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000)
FAR_RATES = (1000, 7919, 96_000, 384_000)
TOLERANCE_S = 0.1
AAC_FRAME = 1024


def priming_s(format: str, rate: int) -> float:
    """Return the silence that a decoder puts in front: ADTS cannot tell it to leave that out."""
    return AAC_FRAME / rate if format == "aac" else 0.0


def longest_held_s(format: str, rate: int) -> float:
    """Return the bound of docs/reference/formats.md for what an encoder holds back; rate: the engine's."""
    if format == "mp3":
        return 0.31 if rate < 16_000 else 0.16
    return {"opus": 0.14, "aac": 0.11, "flac": 0.06}.get(format, 0.0)


@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS, RATES)])
def test_a_file_lasts_as_long_as_its_samples(format: str, rate: int) -> None:
    for n_samples in (1, rate // 100, rate, round(7.3 * rate)):
        file = encoded(format, tone(n_samples / rate, rate), rate)
        assert sniff(file) == (None if format == "pcm" else format)
        samples, out_rate = decoded(file, format, rate)
        surplus_s = len(samples) / out_rate - n_samples / rate
        assert -0.001 <= surplus_s < TOLERANCE_S, n_samples


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS[:-1], RATES)])
def test_ffmpeg_hears_the_same_duration(format: str, rate: int) -> None:
    for seconds in (0.01, 1, 7.3):
        samples = ffmpeg_decoded(encoded(format, tone(seconds, rate), rate), 48_000)
        assert -0.001 <= len(samples) / 48_000 - seconds < TOLERANCE_S, seconds


@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS, FAR_RATES)])
def test_an_engine_may_have_any_sample_rate(format: str, rate: int) -> None:
    samples, out_rate = decoded(encoded(format, tone(0.5, rate, 200), rate), format, rate)
    assert len(samples) / out_rate == pytest.approx(0.5, abs=TOLERANCE_S)
    assert loudness(samples) > 6000


@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS, (8000, 22_050, 48_000))])
def test_sound_stays_where_it_was_and_the_tail_is_heard(format: str, rate: int) -> None:
    pcm = silence(0.5, rate) + tone(0.06, rate) + silence(0.5, rate) + tone(0.06, rate)
    samples, out_rate = decoded(encoded(format, pcm, rate), format, rate)

    def heard(start_s: float, end_s: float) -> float:
        shift = priming_s(format, out_rate)
        return loudness(samples[round((start_s + shift) * out_rate) : round((end_s + shift) * out_rate)])

    for start_s in (0.5, 1.06):
        assert heard(start_s - 0.1, start_s - 0.02) < 300
        for k in range(6):  # every 10 ms of it, to the last
            assert heard(start_s + 0.01 * k, start_s + 0.01 * (k + 1)) > 5000, k


@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS, (16_000, 22_050))])
def test_it_is_the_same_however_the_samples_are_cut(format: str, rate: int) -> None:
    pcm = tone(0.7, rate)
    whole = decoded(encoded(format, pcm, rate, n_bytes=len(pcm)), format, rate)
    for n_bytes in (97, 5000):
        assert decoded(encoded(format, pcm, rate, n_bytes=n_bytes), format, rate) == whole


@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS, (8000, 22_050, 48_000))])
def test_audible_is_what_a_decoder_plays_of_the_bytes_so_far(format: str, rate: int) -> None:
    pcm = tone(1.5, rate, 311)
    whole, out_rate = decoded(encoded(format, pcm, rate), format, rate)
    for n_bytes in (rate, 2 * rate, rate // 4 * 10 - 6):
        made = encoder(format, rate)
        file = b"".join(map(made.encode, cut(pcm[:n_bytes], 1000)))
        taken_s = n_bytes / 2 / rate
        assert taken_s - longest_held_s(format, rate) <= made.audible_s <= taken_s
        samples, _ = decoded(file, format, rate)
        n_audible = int((made.audible_s + priming_s(format, out_rate)) * out_rate)
        assert n_audible <= len(samples) + 1
        assert samples[:n_audible] == whole[: len(samples)][:n_audible]
        made.close()


@pytest.mark.parametrize(("format", "rate"), [*product(FORMATS, RATES)])
def test_bytes_come_out_promptly(format: str, rate: int) -> None:
    made = encoder(format, rate)
    longest_s = 0.0
    for piece in cut(tone(2, rate), 2 * (rate // 100)):
        made.encode(piece)
        longest_s = max(longest_s, made.n_samples / rate - made.audible_s)
    made.flush()
    assert longest_s <= longest_held_s(format, rate)
    assert made.audible_s == made.n_samples / rate


@pytest.mark.parametrize("format", FORMATS)
def test_no_samples_make_no_file(format: str) -> None:
    made = encoder(format, 16_000)
    assert (made.encode(b""), made.encode(b"\1"), made.flush()) == (b"", b"", b"")
    assert made.n_samples == made.audible_s == 0
    made.close()
    made.close()


@pytest.mark.parametrize("format", FORMATS)
def test_an_encoder_can_be_left_at_any_time(format: str) -> None:
    for finish in (False, True):
        made = encoder(format, 22_050)
        made.encode(tone(0.3, 22_050))
        if finish:
            made.flush()
        made.close()
        made.close()


@pytest.mark.parametrize(
    ("format", "out_rate"),
    [("mp3", 8000), ("mp3", 48_000), ("opus", 8000), ("opus", 48_000), ("aac", 16_000), ("aac", 44_100)]
    + [(format, rate) for format in ("flac", "wav", "pcm") for rate in (8000, 23_456, 48_000)],
)
def test_the_asked_sample_rate_is_what_comes(format: str, out_rate: int) -> None:
    pcm = tone(1, 22_050)
    samples, rate = decoded(encoded(format, pcm, 22_050, out_rate), format, out_rate)
    assert rate == (48_000 if format == "opus" else out_rate)
    assert 0 <= len(samples) - rate <= (2 * AAC_FRAME if format == "aac" else 1152 if format == "mp3" else 0)


@pytest.mark.parametrize(
    ("format", "sample_rate"), [("mp3", 23_000), ("mp3", 96_000), ("opus", 22_050), ("aac", 47_999)]
)
def test_a_sample_rate_that_the_format_has_not_is_refused(format: str, sample_rate: int) -> None:
    with pytest.raises(InvalidRequest, match=f"{format} has no sample rate of {sample_rate} Hz") as refused:
        check_format(format, sample_rate)
    assert refused.value.param == "sample_rate"
    with pytest.raises(InvalidRequest):
        make_encoder(format, in_rate=16_000, sample_rate=sample_rate, bit_rate=64_000)
    check_format(format, None)
    check_format("wav", sample_rate)


def test_a_format_that_is_not_made_is_refused() -> None:
    with pytest.raises(UnsupportedFormat) as refused:
        check_format("vorbis", None)
    assert refused.value.param == "format"


@pytest.mark.parametrize(("format", "rate"), [*product(("mp3", "opus", "aac"), (1000, 16_000, 48_000))])
def test_any_bit_rate_becomes_one_that_the_format_has(format: str, rate: int) -> None:
    sizes = []
    for bit_rate in (1, 64_000, 10_000_000):
        made = make_encoder(format, in_rate=rate, sample_rate=None, bit_rate=bit_rate)
        sizes.append(len(made.encode(tone(1, rate, 200)) + made.flush()))
    assert sizes[0] < sizes[1] < sizes[2]


def test_what_needs_no_codec_of_pyav_does_not_import_it() -> None:
    code = (
        "import sys\n"
        "from synth_node.audio.encode import make_encoder\n"
        "for name, rate in (('mp3', 8000), ('wav', None), ('pcm', 22050)):\n"
        "    made = make_encoder(name, in_rate=22050, sample_rate=rate, bit_rate=64000)\n"
        "    assert made.encode(bytes(20000)) + made.flush()\n"
        "assert 'av' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("format", FORMATS)
def test_encoding_takes_a_small_part_of_real_time(format: str) -> None:
    pcm = tone(2, 24_000)
    before = time.thread_time()
    encoded(format, pcm, 24_000)
    assert time.thread_time() - before < 2 * 0.02 * 10, "a guard, ten times what is expected"
