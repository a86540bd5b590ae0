"""Where segments join: the same bytes as if all had been one, in every format; no click, no gap."""

from __future__ import annotations

import array
from itertools import pairwise
from typing import Any

import pytest

from antiphon.errors import InvalidRequest
from antiphon.events import Segment
from antiphon.request import CONTENT_TYPES, Resume, SpeechRequest
from synth_node.audio.encode import make_encoder
from synth_node.synthesizer import EncodedAudio, Synthesizer

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
    async with Synthesizer("tone", bit_rate=BIT_RATE) as synthesizer:
        audio, segments = await spoken(synthesizer, TEXT, format=format)
        pcm = b"".join(await apart(synthesizer, TEXT, segments))
    assert len(segments) > 2
    encoder = make_encoder(format, in_rate=22050, sample_rate=None, bit_rate=BIT_RATE)
    assert audio == encoder.encode(pcm) + encoder.flush()


async def test_an_ogg_file_is_one_stream() -> None:
    async with Synthesizer("tone") as synthesizer:
        audio, segments = await spoken(synthesizer, TEXT, format="opus")
    assert len(segments) > 2
    assert audio.count(b"OpusHead") == audio.count(b"OpusTags") == 1
    assert audio.count(b"OggS\x00\x02") == 1, "one beginning of a stream"
    assert sum(audio.count(b"OggS\x00" + bytes([flags])) for flags in (4, 5)) == 1, "and one end"


async def test_real_speech_joins_without_a_click_and_with_its_pauses() -> None:
    async with Synthesizer("espeak") as synthesizer:
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
    async with Synthesizer("tone") as synthesizer:
        _, segments = await spoken(synthesizer, TEXT)
        resume = Resume(segments[-1].offset, 3600.0)
        assert (await spoken(synthesizer, TEXT, resume=resume))[0] == b""


async def test_a_place_that_is_no_beginning_of_a_segment_is_refused() -> None:
    async with Synthesizer("tone") as synthesizer:
        with pytest.raises(InvalidRequest) as caught:
            await spoken(synthesizer, TEXT, resume=Resume(1))
        assert caught.value.param == "resume"
