"""One encoder for all segments: exact sample counts, and where a listener is after each byte."""

from __future__ import annotations

import array
from functools import partial

import pytest

from antiphon.events import Position
from synth_node.audio.encode import make_encoder
from synth_node.audio.joined import Joined
from synth_node.audio.pipeline import EncodedAudio

RATE = 8000


def joined(format: str = "pcm", *, skip_s: float = 0.0, sample_rate: int | None = None) -> Joined:
    make = partial(make_encoder, format, sample_rate=sample_rate, bit_rate=64_000, continued=skip_s > 0)
    return Joined(lambda in_rate: make(in_rate=in_rate), skip_s=skip_s)


def ramp(n: int, start: int = 0) -> bytes:
    return array.array("h", [(start + i) % 30_000 for i in range(n)]).tobytes()


def data(pieces: list[EncodedAudio]) -> bytes:
    return b"".join(piece.data for piece in pieces)


def place(at: Position | None) -> tuple[int, float, float]:
    assert at is not None
    return at.segment, round(at.seconds, 6), round(at.run_s, 6)


def test_segments_and_pauses_are_joined_to_the_sample() -> None:
    encoder = joined()
    encoder.begin(0)
    pieces = encoder.encode(RATE, ramp(1001))
    pieces += encoder.silence(RATE, 500)
    encoder.begin(1)
    pieces += encoder.encode(RATE, ramp(999, 7))
    pieces += encoder.flush()
    assert data(pieces) == ramp(1001) + bytes(2 * 4000) + ramp(999, 7)
    assert sum(piece.duration_s for piece in pieces) == pytest.approx(6000 / RATE)


def test_a_position_is_in_its_segment() -> None:
    encoder = joined()
    encoder.begin(0)
    assert place(encoder.encode(RATE, ramp(RATE))[-1].at) == (0, 1.0, 1.0)
    assert place(encoder.silence(RATE, 250)[-1].at) == (0, 1.25, 1.25)
    encoder.begin(1)
    pieces = encoder.encode(RATE, ramp(RATE))
    assert place(pieces[0].at) == (1, 0.02, 1.27), "the beginning comes in small steps"
    assert place(pieces[-1].at) == (1, 1.0, 2.25)


def test_what_follows_no_join_comes_in_long_steps() -> None:
    encoder = joined()
    encoder.begin(0)
    assert [place(piece.at) for piece in encoder.encode(RATE, ramp(RATE))] == [(0, 0.5, 0.5), (0, 1.0, 1.0)]


def test_a_pause_before_all_is_a_part_of_the_first_segment() -> None:
    encoder = joined()
    assert place(encoder.silence(RATE, 500)[-1].at) == (0, 0.5, 0.5)
    encoder.begin(0)
    assert encoder.time_ms(0.1) == 600
    assert place(encoder.encode(RATE, ramp(800))[-1].at) == (0, 0.6, 0.6)


def test_what_was_heard_is_left_out() -> None:
    whole, rest = joined(), joined(skip_s=0.3)
    for encoder in (whole, rest):
        encoder.begin(4)
    heard = data(whole.encode(RATE, ramp(2400)))
    following = data(whole.encode(RATE, ramp(RATE, 2400)))
    pieces = rest.encode(RATE, ramp(1000)) + rest.encode(RATE, ramp(RATE + 1400, 1000))
    assert heard + data(pieces) == heard + following
    assert place(pieces[-1].at) == (4, 1.3, 1.0)
    assert rest.time_ms(0.3) == 0
    assert rest.time_ms(0.1) == -200


def test_a_skip_goes_on_into_the_pause_behind_a_segment() -> None:
    encoder = joined(skip_s=0.2)
    encoder.begin(0)
    assert encoder.encode(RATE, ramp(800)) == []
    assert len(data(encoder.silence(RATE, 500))) == 2 * 3200
    encoder.begin(1)
    assert encoder.time_ms(0.0) == 400


@pytest.mark.parametrize("format", ["mp3", "aac", "opus"])
def test_a_position_is_never_beyond_what_can_be_heard(format: str) -> None:
    encoder = joined(format)
    positions = []
    for segment in range(3):
        encoder.begin(segment)
        positions += [piece.at for piece in encoder.encode(RATE, ramp(RATE))]
    taken_s = 3.0
    last = positions[-1]
    assert last is not None
    assert taken_s - 0.5 < last.run_s < taken_s
    assert last.segment == 2
    assert all(at is not None for at in positions)
    end = encoder.flush()[-1].at
    assert end is not None
    assert end.run_s == pytest.approx(taken_s)


def test_no_sound_at_all_is_told() -> None:
    encoder = joined("mp3")
    encoder.begin(0)
    assert encoder.flush() == []
    assert not encoder.heard
    encoder.close()
