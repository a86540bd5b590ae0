"""What a listener has heard, over several runs: one account without repetitions."""

from __future__ import annotations

from antiphon.events import AudioChunk, Position, Segment, Word, Words
from antiphon.heard import Heard
from antiphon.request import Resume


def test_audio_and_segments_are_passed_on() -> None:
    heard = Heard()
    segment = Segment(0, 2, 0, 5)
    assert heard.note(segment) == segment
    assert heard.note(AudioChunk(0, b"a", Position(0, 0.5, 0.5))) == b"a"


def test_a_listener_is_where_the_last_audio_ends() -> None:
    heard = Heard()
    for index in range(3):
        heard.note(Segment(index, 3, 10 * index, 9))
    heard.note(AudioChunk(0, b"a", Position(1, 0.25, 4.0)))
    assert heard.resume() == Resume(10, 0.25)
    assert heard.before_ms == 4000


def test_where_a_listener_is_can_be_unknown() -> None:
    heard = Heard()
    assert heard.resume() is None
    heard.note(Segment(0, 1, 0, 5))
    heard.note(AudioChunk(0, b"a", Position(0, 0.5, 0.5)))
    heard.note(AudioChunk(1, b"b"))
    assert heard.resume() is None, "nobody knows how far the second goes"


def test_another_run_tells_nothing_again_and_goes_on_in_time() -> None:
    heard = Heard()
    heard.note(Segment(0, 2, 0, 5))
    heard.note(Words((Word(0, 2, 0, 100), Word(3, 2, 100, 300))))
    heard.note(Segment(1, 2, 6, 5))
    heard.note(AudioChunk(0, b"a", Position(1, 0.5, 1.5)))
    assert heard.resume() == Resume(6, 0.5)
    assert heard.note(Segment(1, 2, 6, 5)) is None
    assert heard.note(Words((Word(3, 2, 0, 10),))) is None
    assert heard.note(Words((Word(6, 2, 20, 40),))) == Words((Word(6, 2, 1520, 1540),))
    heard.note(AudioChunk(0, b"b", Position(1, 2.0, 1.5)))
    assert heard.resume() == Resume(6, 2.0)
    assert heard.before_ms == 3000


def test_two_words_of_one_place_are_both_told() -> None:
    heard = Heard()
    assert heard.note(Words((Word(0, 5, 0, 100),))) is not None
    assert heard.note(Words((Word(0, 5, 100, 300),))) is not None


def test_a_run_lost_before_its_first_audio_leaves_the_listener_there() -> None:
    heard = Heard()
    heard.note(Segment(0, 1, 0, 5))
    heard.note(AudioChunk(0, b"a", Position(0, 0.5, 0.5)))
    assert heard.resume() == heard.resume() == Resume(0, 0.5)
    assert heard.before_ms == 500
