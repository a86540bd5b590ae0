"""When a stream's audio is let out: at once while the listener is close, by whole segments after that."""

from __future__ import annotations

from antiphon.events import Position
from synth_node.seam import LEAD_S, Seam

KIB = 1024


def at(segment: int, run_s: float) -> Position:
    return Position(segment, 0.0, run_s)


def test_the_first_audio_is_let_out_at_once() -> None:
    assert Seam().wait_s(KIB, at(0, 9.0), now=5.0) == 0.0


def test_what_the_listener_needs_soon_is_let_out_at_once() -> None:
    seam = Seam()
    seam.wait_s(KIB, at(0, LEAD_S), now=5.0)
    seam.released(5.0)
    assert seam.wait_s(KIB, at(0, LEAD_S + 1), now=5.0) == 0.0


def test_audio_ahead_is_held_until_the_listener_comes_close() -> None:
    seam = Seam()
    seam.wait_s(KIB, at(0, LEAD_S + 3), now=5.0)
    seam.released(5.0)
    assert seam.wait_s(KIB, at(0, LEAD_S + 4), now=5.0) == 3.0
    assert seam.wait_s(KIB, at(0, LEAD_S + 4), now=7.0) == 1.0
    assert seam.wait_s(KIB, at(0, LEAD_S + 4), now=8.0) == 0.0


def test_the_end_of_a_segment_lets_out_what_was_held() -> None:
    seam = Seam()
    seam.wait_s(KIB, at(0, LEAD_S + 3), now=5.0)
    seam.released(5.0)
    assert seam.wait_s(KIB, at(0, LEAD_S + 4), now=5.0) > 0
    assert seam.wait_s(KIB, at(1, LEAD_S + 4.1), now=5.0) == 0.0
    seam.released(5.0)
    assert seam.wait_s(KIB, at(1, LEAD_S + 5), now=5.0) > 0


def test_what_is_held_is_bounded() -> None:
    seam = Seam()
    seam.wait_s(KIB, at(0, 60.0), now=0.0)
    seam.released(0.0)
    waits = [seam.wait_s(100 * KIB, at(0, 60.0), now=0.0) for _ in range(3)]
    assert waits[0] > 0
    assert waits[-1] == 0.0
    seam.released(0.0)
    assert seam.wait_s(100 * KIB, at(0, 60.0), now=0.0) > 0


def test_audio_of_which_the_place_is_not_known_is_never_held() -> None:
    seam = Seam()
    seam.wait_s(KIB, at(0, 60.0), now=0.0)
    seam.released(0.0)
    assert seam.wait_s(KIB, None, now=0.0) == 0.0
