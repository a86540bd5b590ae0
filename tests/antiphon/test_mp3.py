"""MP3 as it is written and counted; checked by two decoders that are not ours."""

from __future__ import annotations

import io
import math
import shutil
import subprocess
from array import array
from pathlib import Path

import av
import pytest

from antiphon.errors import InvalidRequest
from antiphon.mp3 import SAMPLE_RATES, FrameCounter, samples_per_frame, with_length
from synth_node.audio.encode import Mp3Encoder, mp3_bit_rate, mp3_sample_rate
from synth_node.audio.sniff import sniff

LENGTHS = (576, 1152, 1153, 4999, 16_000, 44_100, 100_003)


def sine(n_samples: int, rate: int) -> bytes:
    step = 2 * math.pi * 440 / rate
    return array("h", (int(9000 * math.sin(step * i)) for i in range(n_samples))).tobytes()


def encoded(pcm: bytes, in_rate: int, out_rate: int, cut: int = 5001, bit_rate: int = 64_000) -> bytes:
    encoder = Mp3Encoder(in_rate, out_rate, mp3_bit_rate(bit_rate, out_rate))
    pieces = [encoder.encode(pcm[start : start + cut]) for start in range(0, len(pcm), cut)]
    assert encoder.n_samples == len(pcm) // 2
    return b"".join(pieces) + encoder.flush()


def decoded(mp3: bytes) -> bytes:
    with av.open(io.BytesIO(mp3), "r") as container:
        resampler = av.AudioResampler(format="s16", layout="mono")
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_the_duration_is_right_within_one_frame(rate: int) -> None:
    for n_samples in LENGTHS:
        mp3 = encoded(sine(n_samples, rate), rate, rate)
        surplus = len(decoded(mp3)) // 2 - n_samples
        assert 0 <= surplus <= samples_per_frame(rate), n_samples
        assert len(decoded(with_length(mp3, n_samples))) // 2 == n_samples


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_the_info_frame_has_room_at_the_lowest_bit_rates(rate: int) -> None:
    for bit_rate in (8_000, 16_000, 24_000):
        mp3 = encoded(sine(20_000, rate), rate, rate, bit_rate=bit_rate)
        assert 0 <= len(decoded(mp3)) // 2 - 20_000 <= samples_per_frame(rate)
        assert len(decoded(with_length(mp3, 20_000))) // 2 == 20_000


@pytest.mark.parametrize(("in_rate", "out_rate"), [(20_000, 22_050), (22_050, 48_000), (96_000, 48_000)])
def test_other_rates_are_resampled(in_rate: int, out_rate: int) -> None:
    assert mp3_sample_rate(in_rate, None if in_rate != 22_050 else 48_000) == out_rate
    for n_samples in LENGTHS:
        pcm = decoded(encoded(sine(n_samples, in_rate), in_rate, out_rate))
        surplus = len(pcm) / 2 - n_samples * out_rate / in_rate
        assert -1 <= surplus <= samples_per_frame(out_rate), n_samples


def test_the_sound_begins_where_it_began() -> None:
    pcm = array("h", bytes(2 * 2000) + sine(20_000, 22_050))
    out = array("h", decoded(encoded(pcm.tobytes(), 22_050, 22_050)))
    onset = next(i for i, sample in enumerate(out) if abs(sample) > 3000)
    assert onset == pytest.approx(next(i for i, sample in enumerate(pcm) if abs(sample) > 3000), abs=30)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_ffmpeg_decodes_it_without_a_warning(tmp_path: Path, rate: int) -> None:
    for n_samples in (8_001, 50_000):
        mp3 = encoded(sine(n_samples, rate), rate, rate)
        (tmp_path / "whole.mp3").write_bytes(with_length(mp3))
        for source, data in (("-", mp3), (str(tmp_path / "whole.mp3"), b"")):
            run = subprocess.run(
                ["ffmpeg", "-v", "warning", "-i", source, "-f", "s16le", "-"],
                input=data,
                capture_output=True,
                timeout=20,
                check=True,
            )
            assert run.stderr == b""
            assert 0 <= len(run.stdout) // 2 - n_samples <= samples_per_frame(rate)


def test_it_is_the_same_however_the_samples_are_cut() -> None:
    pcm = sine(30_000, 24_000)
    whole = encoded(pcm, 24_000, 24_000, cut=len(pcm))
    assert encoded(pcm, 24_000, 24_000, cut=333) == whole
    assert Mp3Encoder(24_000, 24_000, 64_000).flush() == b""


def test_only_our_own_streams_get_a_length() -> None:
    mp3 = encoded(sine(9000, 16_000), 16_000, 16_000)
    complete = with_length(mp3)
    assert len(complete) == len(mp3)
    assert complete != mp3
    for data in (complete, mp3[300:], b"", b"RIFF", b"ID3" + mp3):
        assert with_length(data) == data


@pytest.mark.parametrize("rate", SAMPLE_RATES)
def test_frames_are_counted_however_the_file_is_cut(rate: int) -> None:
    mp3 = encoded(sine(2 * rate, rate), rate, rate)
    tag = b"ID3\x04\0\0\0\0\x02\x01" + b"\xff\xfb\x90\x00" * 64 + b"\0"
    file = tag + mp3 + b"TAG".ljust(128, b"\xff")
    seconds = []
    for cut in (1, 7, 1000, len(file)):
        counter = FrameCounter()
        seconds.append(sum(counter.feed(file[start : start + cut]) for start in range(0, len(file), cut)))
        counter.finish()
        assert counter.sample_rate == rate
    assert seconds == pytest.approx([seconds[0]] * 4)
    assert 0 < seconds[0] * rate - 2 * rate <= 4 * samples_per_frame(rate)


@pytest.mark.parametrize("data", [b"", b"nothing", b"\xff" * 100, b"ID3\x04\0\0\0\0\0\0", b"x" * 70_000])
def test_what_is_no_mp3_has_no_frames(data: bytes) -> None:
    counter = FrameCounter()
    with pytest.raises(ValueError, match="no MP3 frame"):
        counter.finish() if counter.feed(data) == 0 else None


def test_a_sample_rate_that_mp3_has_not_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        mp3_sample_rate(22_050, 23_000)
    assert refused.value.param == "sample_rate"
    assert mp3_sample_rate(7000, None) == 8000
    assert mp3_sample_rate(192_000, None) == 48_000


@pytest.mark.parametrize(
    ("rate", "bit_rate"), [(8000, 32_000), (16_000, 64_000), (24_000, 64_000), (44_100, 96_000)]
)
def test_the_bit_rate_suits_the_sample_rate(rate: int, bit_rate: int) -> None:
    assert mp3_bit_rate(64_000, rate) == bit_rate
    assert mp3_bit_rate(1_000_000, rate) in (64_000, 160_000, 320_000)
    assert mp3_bit_rate(1, rate) in (8_000, 32_000)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"RIFF\x24\0\0\0WAVEfmt ", "wav"),
        (b"fLaC\0", "flac"),
        (b"OggS" + bytes(24) + b"OpusHead", "opus"),
        (b"OggS" + bytes(24) + b"\x01vorbis", "ogg"),
        (b"ID3\x04", "mp3"),
        (b"\xff\xfb\x90\x00", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"\0\0\0\x20ftypM4A ", "mp4"),
        (b"", None),
        (b"hello", None),
        (b"\xff\xff\xff\xff", None),
    ],
)
def test_formats_are_told_apart(data: bytes, name: str | None) -> None:
    assert sniff(data) == name
