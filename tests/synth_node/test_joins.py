"""Where segments join: the same bytes as if all had been one, in every format; no click, no gap."""

from __future__ import annotations

import array
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from antiphon.errors import InvalidRequest
from antiphon.events import Segment
from antiphon.request import CONTENT_TYPES, Resume, SpeechRequest
from synth_node.audio.encode import make_encoder
from synth_node.synthesizer import EncodedAudio, Synthesizer
from tests.synth_node.process.support_engine import synthesizer_of

TEXT = "It was a bright cold day in April, and the clocks struck. He paid $4.50 for it. Was it good? " * 8
BIT_RATE = 64_000


async def spoken(synthesizer: Synthesizer, text: str, **options: Any) -> tuple[bytes, list[Segment]]:
    """Return the audio and the segments that it was made of."""
    audio, segments = b"", []
    async for piece in synthesizer.speak(SpeechRequest(text, **options)):
        if isinstance(piece, EncodedAudio):
            audio += piece.data
        elif isinstance(piece, Segment):
            segments.append(piece)
    return audio, segments


async def apart(synthesizer: Synthesizer, text: str, segments: list[Segment]) -> list[bytes]:
    """Return the samples of each segment, spoken by itself."""
    texts = [text[s.offset : s.offset + s.length] for s in segments]
    return [(await spoken(synthesizer, t, format="pcm", split=False))[0] for t in texts]


def steepest(samples: array.array[int]) -> int:
    """Return the largest step between two samples; a click is one."""
    return max(abs(b - a) for a, b in pairwise(samples))


def pauses_ms(samples: array.array[int]) -> list[float]:
    """Return how long each silence of more than 120 ms is."""
    found, length = [], 0
    for sample in samples:
        if abs(sample) < 60:
            length += 1
            continue
        if length > 0.120 * 22050:
            found.append(1000 * length / 22050)
        length = 0
    return found


@pytest.mark.parametrize("format", [f for f in CONTENT_TYPES if f != "opus"])
async def test_one_encoder_makes_all_segments(format: str) -> None:
    async with synthesizer_of("tone", bit_rate=BIT_RATE) as synthesizer:
        audio, segments = await spoken(synthesizer, TEXT, format=format)
        pcm = b"".join(await apart(synthesizer, TEXT, segments))
    assert len(segments) > 2
    encoder = make_encoder(format, in_rate=22050, sample_rate=None, bit_rate=BIT_RATE)
    assert audio == encoder.encode(pcm) + encoder.flush()


async def test_an_ogg_file_is_one_stream() -> None:
    async with synthesizer_of("tone") as synthesizer:
        audio, segments = await spoken(synthesizer, TEXT, format="opus")
    assert len(segments) > 2
    assert audio.count(b"OpusHead") == audio.count(b"OpusTags") == 1
    assert audio.count(b"OggS\x00\x02") == 1, "one beginning of a stream"
    assert sum(audio.count(b"OggS\x00" + bytes([flags])) for flags in (4, 5)) == 1, "and one end"


async def test_real_speech_joins_without_a_click_and_with_its_pauses() -> None:
    async with synthesizer_of("espeak") as synthesizer:
        audio, segments = await spoken(synthesizer, TEXT, format="pcm")
        parts = await apart(synthesizer, TEXT, segments)
        in_one_go, _ = await spoken(synthesizer, TEXT, format="pcm", split=False)
    # espeak is not repeatable to the sample.
    assert len(audio) == pytest.approx(sum(map(len, parts)), rel=0.005)
    assert len(audio) == pytest.approx(len(in_one_go), rel=0.02)
    samples = array.array("h", audio)
    usual = max(steepest(array.array("h", part)) for part in parts)
    assert steepest(samples) < 1.3 * usual
    pauses, natural = pauses_ms(samples), pauses_ms(array.array("h", in_one_go))
    assert len(pauses) == len(natural), "each sentence keeps its pause, and no other is there"
    assert pauses == pytest.approx(natural, abs=60)


async def test_a_listener_who_has_heard_all_of_it_gets_no_more() -> None:
    async with synthesizer_of("tone") as synthesizer:
        _, segments = await spoken(synthesizer, TEXT)
        resume = Resume(segments[-1].offset, 3600.0)
        assert (await spoken(synthesizer, TEXT, resume=resume))[0] == b""


async def test_a_place_where_this_node_begins_no_segment_becomes_one() -> None:
    async with synthesizer_of("tone") as synthesizer:
        audio, segments = await spoken(synthesizer, TEXT, format="pcm", resume=Resume(3, 0.5))
        assert segments[0].offset == 3
        assert len(audio) == 2 * (round(0.06 * sum(s.length for s in segments) * 22050) - 22050 // 2)
        with pytest.raises(InvalidRequest) as caught:
            await spoken(synthesizer, TEXT, resume=Resume(10_000))
        assert caught.value.param == "resume"


ENGINES = """
import io, wave

def files(text):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 44100, 0, "NONE", ""))
        out.writeframes(b"\\x10\\x00" * 44100)
    return file.getvalue()

def odd(text):
    yield b"\\x10\\x00" * 1000 + b"\\x10"
odd.sample_rate = 16000

def silent_marks(text):
    if any(c.isalpha() for c in text):
        yield b"\\x10\\x00" * 16000
silent_marks.sample_rate = 16000
"""


@pytest.fixture
def engines(tmp_path: Path) -> str:
    """Return a file of engines, to be named with a colon and a function."""
    file = tmp_path / "engines.py"
    file.write_text(ENGINES)
    return str(file)


async def test_silence_before_the_first_file_has_its_rate(engines: str) -> None:
    async with synthesizer_of(f"{engines}:files") as synthesizer:
        audio, _ = await spoken(synthesizer, "[pause 1s] One. [pause 500ms] Two.", format="pcm")
    assert len(audio) == 2 * (44100 + 44100 + 22050 + 44100)
    assert audio.startswith(bytes(2 * 44100) + b"\x10\x00")


async def test_half_a_sample_at_the_end_of_a_segment_does_not_shift_the_next(engines: str) -> None:
    async with synthesizer_of(f"{engines}:odd") as synthesizer:
        audio, _ = await spoken(synthesizer, "One.[pause 0ms]Two.[pause 0ms]Three.", format="pcm")
    assert audio == b"\x10\x00" * 3000


async def test_every_place_is_in_a_segment_that_was_told_of(engines: str) -> None:
    told = set()
    async with synthesizer_of(f"{engines}:silent_marks") as synthesizer:
        text = "[pause 1s] Hello. [pause 1s] ... [pause 1s] More."
        async for piece in synthesizer.speak(SpeechRequest(text)):
            if isinstance(piece, Segment):
                assert piece.index not in told
                told.add(piece.index)
            elif isinstance(piece, EncodedAudio):
                assert piece.at is not None
                assert piece.at.segment in told
    assert told == {0, 1, 2}
