"""The messages of both services: what is asked, what is read, and levels from factors."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest
from synth_node.engines.xunfei.faults import Fault, Kind
from synth_node.engines.xunfei.online import Online
from synth_node.engines.xunfei.ordered import WINDOW, Ordered
from synth_node.engines.xunfei.protocol import (
    Frame,
    Service,
    Wanted,
    pitch_level,
    speed_level,
    volume_level,
)
from synth_node.engines.xunfei.super_human import SuperHuman

WANTED = Wanted("你好", "xiaoyan", speed=40, volume=60, pitch=70, sample_rate=16000, aue="raw")
ONLINE = Online("a1b2c3d4", "UTF8")
SUPER_HUMAN = SuperHuman("a1b2c3d4")


def wanted(**changes: Any) -> Wanted:
    names = ("text", "voice", "speed", "volume", "pitch", "sample_rate", "aue")
    return Wanted(**{**{name: getattr(WANTED, name) for name in names}, **changes})


@pytest.mark.parametrize(
    ("factor", "level"), [(0.5, 0), (0.71, 25), (1, 50), (1.0, 50), (1.41, 75), (2, 100), (2.0, 100)]
)
def test_a_factor_becomes_a_level(factor: float, level: int) -> None:
    assert speed_level(factor) == pitch_level(factor) == level


@pytest.mark.parametrize("factor", [0.25, 0.49, 2.01, 4])
def test_a_speed_beyond_the_levels_is_refused(factor: float) -> None:
    with pytest.raises(InvalidRequest, match=r"speeds are 0\.5 to 2") as caught:
        speed_level(factor)
    assert caught.value.param == "speed"


@pytest.mark.parametrize(
    ("usual", "factor", "level"),
    [(1.149, 1, 60), (1.149, 0.5, 10), (1.149, 2, 100), (0.758, 2, 80), (0.758, 0.5, 0), (2, 0.5, 50)],
)
def test_a_usual_speed_is_multiplied_as_far_as_the_levels_go(usual: float, factor: float, level: int) -> None:
    assert speed_level(factor, usual) == level


@pytest.mark.parametrize(("usual", "factor"), [(0.5, 4), (2, 0.25)])
def test_a_usual_speed_excuses_no_factor_beyond_the_levels(usual: float, factor: float) -> None:
    with pytest.raises(InvalidRequest, match=r"speeds are 0\.5 to 2"):
        speed_level(factor, usual)


@pytest.mark.parametrize("level", range(101))
def test_a_level_as_a_factor_of_three_decimals_is_that_level(level: int) -> None:
    """The formula of docs/how-to/xunfei.md: a service with a fixed level can be replaced exactly."""
    assert speed_level(1, round(2 ** ((level - 50) / 50), 3)) == level


@pytest.mark.parametrize(("factor", "level"), [(0, 0), (0.5, 25), (1, 50), (2, 100)])
def test_a_volume_is_in_proportion(factor: float, level: int) -> None:
    assert volume_level(factor) == level


@given(st.floats(0.5, 2), st.floats(0.5, 2))
def test_a_faster_speed_has_no_lower_level(one: float, other: float) -> None:
    assert 0 <= speed_level(one) <= 100
    assert (one <= other) <= (speed_level(one) <= speed_level(other))


def test_the_online_service_is_asked_as_its_document_says() -> None:
    assert json.loads(ONLINE.request(WANTED)) == {
        "common": {"app_id": "a1b2c3d4"},
        "business": {
            "aue": "raw",
            "auf": "audio/L16;rate=16000",
            "vcn": "xiaoyan",
            "speed": 40,
            "volume": 60,
            "pitch": 70,
            "tte": "UTF8",
        },
        "data": {"status": 2, "text": "5L2g5aW9"},
    }
    business = json.loads(ONLINE.request(wanted(aue="lame", sample_rate=8000)))["business"]
    assert (business["aue"], business["sfl"], business["auf"]) == ("lame", 1, "audio/L16;rate=8000")


def test_the_super_human_service_is_asked_as_its_document_says() -> None:
    assert json.loads(SUPER_HUMAN.request(wanted(sample_rate=24000, aue="lame"))) == {
        "header": {"app_id": "a1b2c3d4", "status": 2},
        "parameter": {
            "tts": {
                "vcn": "xiaoyan",
                "speed": 40,
                "volume": 60,
                "pitch": 70,
                "audio": {
                    "encoding": "lame",
                    "sample_rate": 24000,
                    "channels": 1,
                    "bit_depth": 16,
                    "frame_size": 0,
                },
            }
        },
        "payload": {
            "text": {
                "encoding": "utf8",
                "compress": "raw",
                "format": "plain",
                "status": 2,
                "seq": 0,
                "text": "5L2g5aW9",
            }
        },
    }


def test_the_super_human_service_gets_neither_tabs_nor_what_cannot_be_seen() -> None:
    message = json.loads(SUPER_HUMAN.request(wanted(text="你\t好\u200b\ufeff。\n再见\x07👩\u200d👧")))
    text = base64.b64decode(message["payload"]["text"]["text"]).decode()
    assert text == "你 好。\n再见 👩👧"


def online_frame(**values: Any) -> Frame:
    return ONLINE.frame(json.dumps({"code": 0, "message": "success", **values}))


def test_frames_of_the_online_service_are_read() -> None:
    frame = online_frame(sid="tts1", data={"audio": "YWJj", "status": 1, "ced": "15"})
    assert frame == Frame(0, "success", "tts1", b"abc", last=False)
    assert online_frame(data={"audio": "YWJj", "status": 2}).last
    assert online_frame(data={"audio": "", "status": 2}) == Frame(0, "success", "", b"", last=True)
    assert online_frame(data=None) == online_frame() == Frame(0, "success", "", b"", last=False)
    assert ONLINE.frame('{"code": 11200, "message": "licc failed", "sid": "x"}').code == 11200


def test_frames_of_the_super_human_service_are_read() -> None:
    header = {"code": 0, "message": "success", "sid": "aso1", "status": 1}
    audio = {"audio": "YWJj", "status": 1, "seq": 3, "ced": "30", "encoding": "lame"}
    frame = SUPER_HUMAN.frame(json.dumps({"header": header, "payload": {"audio": audio}}))
    assert frame == Frame(0, "success", "aso1", b"abc", last=False, seq=3)
    last = {"header": {**header, "status": 2}, "payload": {"audio": {**audio, "status": 2}}}
    assert SUPER_HUMAN.frame(json.dumps(last)).last
    acknowledged = SUPER_HUMAN.frame(json.dumps({"header": {**header, "status": 0}}))
    assert acknowledged == Frame(0, "success", "aso1", b"", last=False)
    refused = SUPER_HUMAN.frame('{"header": {"code": 10313, "message": "no", "sid": "s", "status": 0}}')
    assert (refused.code, refused.audio, refused.last) == (10313, b"", False)


@pytest.mark.parametrize("service", [ONLINE, SUPER_HUMAN], ids=["online", "super-human"])
@pytest.mark.parametrize(
    "message",
    [
        *("", "<html>", "[1]", "null", "2", '"x"', "[" * 100_000, "{}", '{"code": "0"}', '{"code": true}'),
        '{"code": 0, "data": {"audio": "Y!", "status": 1}}',
        '{"code": 0, "data": {"audio": 7, "status": 1}}',
        '{"header": {"code": 0}, "payload": {"audio": {"audio": "Y!", "status": 1}}}',
        '{"header": {"code": 0.5}}',
    ],
)
def test_a_message_that_is_no_answer_is_a_passing_fault(service: Service, message: str) -> None:
    with pytest.raises(Fault) as caught:
        service.frame(message)
    assert caught.value.kind is Kind.TRANSIENT


def numbered(seq: int | None, *, last: bool = False) -> Frame:
    return Frame(0, "", "", b"" if seq is None else bytes([65 + seq]), last=last, seq=seq)


def given_out(*frames: Frame) -> list[bytes]:
    ordered = Ordered()
    return [ordered.add(frame) for frame in frames]


def test_numbered_frames_in_order_are_given_out_at_once() -> None:
    frames = [numbered(0), numbered(1), numbered(2, last=True)]
    assert given_out(*frames) == [b"A", b"B", b"C"]


def test_a_frame_waits_for_an_earlier_one() -> None:
    assert given_out(numbered(1), numbered(0), numbered(2)) == [b"", b"AB", b"C"]
    assert given_out(numbered(2), numbered(1), numbered(0)) == [b"", b"", b"ABC"]


def test_numbers_that_begin_later_or_have_gaps_hold_little_back() -> None:
    assert given_out(*map(numbered, (1, 2, 3, 4))) == [b"", b"", b"BCD", b"E"]
    assert given_out(*map(numbered, (0, 2, 3, 4, 5))) == [b"A", b"", b"", b"CDE", b"F"]


def test_the_last_frame_brings_all_that_is_left() -> None:
    assert given_out(numbered(3), numbered(1, last=True)) == [b"", b"BD"]


def test_frames_without_numbers_or_with_one_number_for_all_come_in_order() -> None:
    plain = [Frame(0, "", "", bytes([65 + i]), last=i == 3) for i in range(4)]
    assert given_out(*plain) == [b"A", b"B", b"C", b"D"]
    same = [Frame(0, "", "", bytes([65 + i]), last=i == 3, seq=0) for i in range(4)]
    assert given_out(*same) == [b"A", b"B", b"C", b"D"]
    assert given_out(numbered(1), Frame(0, "", "", b"x", last=False), numbered(2)) == [b"", b"Bx", b"C"]


@given(st.integers(0, 8), st.lists(st.booleans(), max_size=8))
def test_neighbours_that_change_places_are_put_right(n: int, swaps: list[bool]) -> None:
    order = list(range(n))
    for i, is_swapped in enumerate(swaps):
        if is_swapped and 2 * i + 1 < n:
            order[2 * i], order[2 * i + 1] = order[2 * i + 1], order[2 * i]
    frames = [numbered(seq) for seq in order]
    assert b"".join(given_out(*frames, Frame(0, "", "", b"", last=True))) == bytes(range(65, 65 + n))
    assert WINDOW >= 1
