"""What an answer is, by its type and by its bytes, and the samples in it however it is cut."""

from __future__ import annotations

import io
import struct
import wave
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import EngineFailed
from synth_node.engines.openai.samples import Samples, check_kind
from synth_node.network.trouble import Doubtful, Failing

RATE = 24_000
PCM = bytes(range(256)) * 3


def wav(pcm: bytes = PCM, *, rate: int = RATE, channels: int = 1, width: int = 2) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((channels, width, rate, 0, "NONE", ""))
        out.writeframes(pcm)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<4sI", name, len(data)) + data + bytes(len(data) % 2)


def streamed(size: int, *before: bytes) -> bytes:
    """Return a WAV file as a server begins it that does not know its length."""
    format = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, RATE, 2 * RATE, 2, 16))
    head = struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + b"".join(before) + format
    return head + struct.pack("<4sI", b"data", size) + PCM


def read(pieces: Iterable[bytes], rate: int = RATE) -> bytes:
    samples = Samples(rate)
    return b"".join([samples.feed(piece) for piece in pieces]) + samples.end()


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    at = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(at)]


@given(
    st.sampled_from(
        [
            (PCM, PCM),
            (b"RI", b"RI"),
            (b'{"error"' + PCM, b'{"error"' + PCM),
            (b"RIFX" + PCM, b"RIFX" + PCM),
            (b"RIFF1234AVI " + PCM, b"RIFF1234AVI " + PCM),
            (wav(), PCM),
            (wav() + b"LIST\x04\0\0\0junk", PCM),
            (streamed(0xFFFFFFFF), PCM),
            (streamed(0x7FFFFFFF), PCM),
            (streamed(0), PCM),
            (streamed(0xFFFFFFFF, chunk(b"LIST", b"odd"), chunk(b"fact", bytes(4))), PCM),
        ]
    ),
    st.lists(st.integers(min_value=0), max_size=12),
)
def test_samples_are_found_however_the_bytes_are_cut(case: tuple[bytes, bytes], places: list[int]) -> None:
    body, expected = case
    assert read(cut(body, places)) == expected
    assert read(bytes([byte]) for byte in body) == expected


@given(st.binary(max_size=400), st.lists(st.integers(min_value=0), max_size=6))
def test_any_bytes_are_samples_or_a_known_trouble(data: bytes, places: list[int]) -> None:
    try:
        assert read(cut(data, places)) == data
    except (EngineFailed, Doubtful, Failing):
        assert data.startswith((b"RIFF", b"ID3", b"OggS", b"fLaC"))


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        (wav(rate=22_050), Doubtful, "have 22050 Hz: set SYNTH_OPENAI_SAMPLE_RATE=22050"),
        (wav(channels=2), Doubtful, "2 channels of 16 bits, format 1: set SYNTH_OPENAI_FORMAT=mp3"),
        (wav(width=1), Doubtful, "1 channels of 8 bits"),
        (b"ID3\x04" + PCM, Doubtful, "an encoded file where pcm was asked for: set SYNTH_OPENAI_F"),
        (b"OggS" + PCM, Doubtful, "SYNTH_OPENAI_FORMAT=mp3"),
        (b"fLaC" + PCM, Doubtful, "SYNTH_OPENAI_FORMAT=mp3"),
        (b"RIFF\0\0\0\0WAVEdata\x08\0\0\0" + PCM, EngineFailed, "does not tell its format"),
        (b"RIFF\0\0\0\0WAVELIST" + struct.pack("<I", 2**30) + bytes(70_000), EngineFailed, "no samples"),
        (b"{" * 5000, EngineFailed, "text where audio was asked for"),
        (wav()[:-1], Failing, "ended early"),
        (wav()[:30], Failing, "ended early"),
        (b"RIFF", Failing, "ended early"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_audio_is_said(body: bytes, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        read([body])


@pytest.mark.parametrize("text", [b"{}", b'{"error": {"message": "\xe9\x94\x99"}}', b"<html>\r\n\t<p>"])
def test_a_text_is_told_from_samples_however_it_is_cut(text: bytes) -> None:
    samples = Samples(RATE)
    for byte in text:
        assert samples.feed(bytes([byte])) == b""
        assert samples.text
    assert samples.text == text
    assert samples.feed(b"\0\0") == text + b"\0\0"
    assert samples.text == b""


def test_samples_are_passed_on_as_they_come() -> None:
    samples = Samples(RATE)
    assert samples.feed(PCM[:5]) == PCM[:5]
    assert samples.feed(PCM[5:6]) == PCM[5:6]
    assert samples.end() == b""


@pytest.mark.parametrize(
    "content_type",
    [
        *("", "audio/pcm", "audio/L16; rate=24000; channels=1", "application/octet-stream", "audio/wav"),
        *(f"audio/pcm; rate={value}" for value in ("", "fast", "²", "-1", "9" * 5000)),
    ],
)
def test_types_that_may_be_samples_pass(content_type: str) -> None:
    check_kind(content_type, "pcm", RATE)


@pytest.mark.parametrize(
    "content_type", ["audio/mpeg", "audio/mp3", "application/octet-stream", "audio/wav", ""]
)
def test_types_that_may_be_a_file_pass(content_type: str) -> None:
    check_kind(content_type, "mp3", RATE)


@pytest.mark.parametrize(
    ("content_type", "asked", "kind", "text"),
    [
        ("text/html; charset=utf-8", "pcm", Doubtful, "SYNTH_OPENAI_BASE_URL leads to a web page"),
        ("application/json", "pcm", EngineFailed, "answered application/json where audio"),
        ("application/problem+json", "mp3", EngineFailed, "where audio was asked for"),
        ("text/event-stream", "mp3", EngineFailed, "text/event-stream"),
        ("Audio/MPEG", "pcm", Doubtful, "sends audio/mpeg where pcm .* SYNTH_OPENAI_FORMAT=mp3"),
        ("audio/ogg; codecs=opus", "pcm", Doubtful, "SYNTH_OPENAI_FORMAT=mp3"),
        ("audio/L16;rate=22050", "pcm", Doubtful, "SYNTH_OPENAI_SAMPLE_RATE=22050"),
    ],
)
def test_types_that_cannot_be_what_was_asked_for_are_refused(
    content_type: str, asked: str, kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind, match=text):
        check_kind(content_type, asked, RATE)
