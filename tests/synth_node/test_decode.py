"""Audio files of any kind become samples at the rate that was asked for, while they still grow."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

import pytest

from antiphon.errors import BadAudio, EngineCrashed
from synth_node.audio.decode import PulledFile, decoded
from tests.synth_node.support_sound import cut, encoded, loudness, silence, tone

FILES = ("mp3", "opus", "aac", "flac", "wav")
LONGEST_S = 0.1


def samples_of(file: bytes, sample_rate: int | None = None) -> tuple[set[int], array[int]]:
    """Return the sample rates that came, and all samples."""
    pieces = iter(cut(file, 700))
    found = list(decoded(PulledFile(lambda: next(pieces, None)), sample_rate))
    return {rate for rate, _ in found}, array("h", b"".join(pcm for _, pcm in found))


@pytest.mark.parametrize("format", FILES)
def test_a_file_keeps_its_own_rate_unless_one_is_asked_for(format: str) -> None:
    own = 48_000 if format == "opus" else 44_100
    rates, samples = samples_of(encoded(format, tone(1, 44_100), 44_100))
    assert rates == {own}
    assert -0.001 <= len(samples) / own - 1 < LONGEST_S


@pytest.mark.parametrize("format", FILES)
@pytest.mark.parametrize("rate", [8000, 22_050, 48_000])
def test_files_of_different_rates_come_at_the_same(format: str, rate: int) -> None:
    pcm = silence(0.3, rate) + tone(0.3, rate)
    rates, samples = samples_of(encoded(format, pcm, rate), 24_000)
    assert rates == {24_000}
    assert -0.001 <= len(samples) / 24_000 - 0.6 < LONGEST_S
    assert loudness(samples[: round(0.28 * 24_000)]) < 300
    assert loudness(samples[round(0.35 * 24_000) : round(0.6 * 24_000)]) > 8000


@pytest.mark.parametrize("format", FILES)
def test_samples_come_before_the_file_is_complete(format: str) -> None:
    file = encoded(format, tone(10, 24_000), 24_000)
    asked = 0

    def pieces() -> Iterator[bytes]:
        nonlocal asked
        for piece in cut(file, 500):
            asked += len(piece)
            yield piece

    source = pieces()
    rate, pcm = next(decoded(PulledFile(lambda: next(source, None))))
    assert rate
    assert pcm
    assert asked < len(file)


@pytest.mark.parametrize("file", [b"", b"this is no audio at all" * 50, b"RIFF\0\0\0\0WAVEfmt "])
def test_what_is_no_audio_is_told(file: bytes) -> None:
    with pytest.raises(BadAudio):
        samples_of(file)


def wav(size: int, n_there: int, *, before: bytes = b"") -> bytes:
    """Return a WAV file that says `size` bytes of samples and has `n_there`; `before` them other chunks."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16_000, 32_000, 2, 16)
    chunks = form + before + struct.pack("<4sI", b"data", size) + bytes(n_there)
    return struct.pack("<4sI4s", b"RIFF", min(len(chunks) + 4 + size - n_there, 2**32 - 1), b"WAVE") + chunks


BEFORE = [b"", b"LIST" + struct.pack("<I", 3001) + bytes(3002), b"note" + struct.pack("<I", 4) + b"data"]


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("size", [16_000, 0, 0x7FFF_0000, 0xFFFF_FFFF])
def test_a_wav_file_may_be_whole_or_of_unknown_length(size: int, before: bytes) -> None:
    assert len(samples_of(wav(size, 16_000, before=before))[1]) == 8000


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("n_there", [0, 1000, 15_998])
def test_a_wav_file_that_is_cut_off_is_told(n_there: int, before: bytes) -> None:
    with pytest.raises(BadAudio, match=f"cut off: {16_000 - n_there} bytes of samples are missing"):
        samples_of(wav(16_000, n_there, before=before))


def test_what_the_source_raises_is_raised_here() -> None:
    file = encoded("wav", tone(0.2, 16_000), 16_000)
    pieces = iter([file[:3000]])

    def pull() -> bytes:
        try:
            return next(pieces)
        except StopIteration:
            raise EngineCrashed("it died") from None

    with pytest.raises(EngineCrashed, match="it died"):
        list(decoded(PulledFile(pull)))
