"""What nodes and callers tell of themselves, on the wire."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import MalformedMessage
from antiphon.heartbeat import (
    MAX_VOICE_CHARACTERS,
    MAX_VOICES,
    Heartbeat,
    Running,
    Voice,
    VoiceList,
    Waiting,
    decode_heartbeat,
    decode_voices,
    decode_waiting,
    encode_heartbeat,
    encode_voices,
    encode_waiting,
)

COUNTS = st.integers(0, 2**53)
SECONDS = st.floats(0, 3600) | st.integers(0, 3600)
TOKENS = st.from_regex("[A-Za-z0-9_-]{1,40}", fullmatch=True)
RUNNING = st.builds(Running, run=st.text(), characters=st.integers(0, 10**12), elapsed_s=SECONDS)
TEXTS = ("name", "version", "voices_hash", "paused")
HEARTBEATS = st.builds(
    Heartbeat,
    **{name: TOKENS for name in ("node", "model")},
    **{name: st.text() for name in TEXTS},
    **{name: COUNTS for name in ("seq", "synthesized", "failed")},
    **{name: st.integers(0, 4096) for name in ("slots", "idle", "busy")},
    **{name: SECONDS for name in ("boot", "seconds_per_character", "real_time_factor", "pause_s")},
    interval_s=st.floats(0.001, 60),
    state=st.sampled_from(["starting", "ready", "draining", "left"]),
    running=st.lists(RUNNING, max_size=3).map(tuple),
)
BEAT: dict[str, Any] = asdict(Heartbeat("n", "name", 1.0, 1, "m", "ready", slots=2, idle=1, busy=1))
RUN: dict[str, Any] = {"run": "r", "characters": 5, "elapsed_s": 0.5}
DECODERS: list[Callable[[bytes], object]] = [decode_heartbeat, decode_voices, decode_waiting]
NAMES = [f.name for f in fields(Heartbeat)]


@given(heartbeat=HEARTBEATS)
def test_a_heartbeat_comes_back(heartbeat: Heartbeat) -> None:
    assert decode_heartbeat(encode_heartbeat(heartbeat)) == heartbeat


@given(data=st.binary())
@example(b"\x81\xa1a" * 50_000)
@example(b"\xdf\xff\xff\xff\xff")
def test_any_other_bytes_are_malformed_and_nothing_else(data: bytes) -> None:
    for decode in DECODERS:
        with suppress(MalformedMessage):
            decode(data)


@given(name=st.sampled_from(NAMES), value=st.from_type(type).flatmap(st.from_type))
def test_any_other_value_is_malformed_and_nothing_else(name: str, value: object) -> None:
    with suppress(TypeError, ValueError, OverflowError):  # msgpack has no such value
        data = msgpack.packb({**BEAT, name: value})
        with suppress(MalformedMessage):
            decode_heartbeat(data)


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in NAMES),
        *({name: True} for name in NAMES),
        *({name: -1} for name in NAMES),
        *({name: "x"} for name in NAMES if name not in (*TEXTS, "node", "model")),
        *({name: 1.5} for name in ("seq", "slots", "idle", "busy", "synthesized", "failed")),
        *({name: float("nan")} for name in ("boot", "interval_s", "seconds_per_character")),
        *({name: float("inf")} for name in ("boot", "interval_s", "real_time_factor")),
        *({name: 5} for name in (*TEXTS, "node", "model", "state")),
        {"state": "dancing"},
        {"running": {}},
        {"running": "r"},
        {"running": [1]},
        {"running": [None]},
        {"running": [[]]},
        {"running": [{}]},
        {"running": [{**RUN, "run": 1}]},
        {"running": [{**RUN, "characters": "5"}]},
        {"running": [{**RUN, "characters": -5}]},
        {"running": [{**RUN, "elapsed_s": "now"}]},
        {"running": [{**RUN, "elapsed_s": float("nan")}]},
        {"running": [{**RUN, "elapsed_s": -1.0}]},
        {"running": [{**RUN, "elapsed_s": True}]},
    ],
    ids=str,
)
def test_what_is_no_heartbeat_is_malformed(change: dict[str, object]) -> None:
    with pytest.raises(MalformedMessage):
        decode_heartbeat(msgpack.packb({**BEAT, **change}))


@pytest.mark.parametrize("name", ["node", "name", "boot", "seq", "model", "state", "slots", "idle", "busy"])
def test_a_heartbeat_needs_its_main_fields(name: str) -> None:
    with pytest.raises(MalformedMessage):
        decode_heartbeat(msgpack.packb({key: value for key, value in BEAT.items() if key != name}))


def test_the_other_fields_have_defaults() -> None:
    needed = ("node", "name", "boot", "seq", "model", "state", "slots", "idle", "busy")
    assert decode_heartbeat(msgpack.packb({name: BEAT[name] for name in needed})) == decode_heartbeat(
        msgpack.packb(BEAT)
    )


def test_what_a_newer_version_adds_is_ignored() -> None:
    data = msgpack.packb({**BEAT, "gpu": {"memory": 8}, "running": [{**RUN, "voice": "anna"}]})
    assert decode_heartbeat(data).running == (Running("r", 5, 0.5),)
    assert decode_waiting(msgpack.packb({"waiting": 1, "characters": 2, "oldest_s": 3})) == Waiting(1, 2)
    assert decode_voices(
        msgpack.packb({"model": "m", "voices": [{"id": "a", "gender": "f"}], "total": 1})
    ) == VoiceList((Voice("a"),))


@given(waiting=COUNTS, characters=st.integers(0, 10**12))
def test_what_waits_comes_back(waiting: int, characters: int) -> None:
    assert decode_waiting(encode_waiting(Waiting(waiting, characters))) == Waiting(waiting, characters)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"waiting": 1},
        {"characters": 1},
        {"waiting": -1, "characters": 1},
        {"waiting": 1, "characters": -1},
        {"waiting": True, "characters": 1},
        {"waiting": "1", "characters": 1},
        {"waiting": 1.0, "characters": 1},
        [1, 2],
    ],
)
def test_what_is_no_report_of_waiting_is_malformed(values: object) -> None:
    with pytest.raises(MalformedMessage):
        decode_waiting(msgpack.packb(values))


VOICE_TEXTS = st.text(max_size=MAX_VOICE_CHARACTERS)
VOICES = st.lists(st.builds(Voice, id=VOICE_TEXTS, name=VOICE_TEXTS, language=VOICE_TEXTS), max_size=4).map(
    tuple
)


@given(voices=VOICES, aliases=st.dictionaries(VOICE_TEXTS, VOICE_TEXTS, max_size=3))
def test_voices_come_back(voices: tuple[Voice, ...], aliases: dict[str, str]) -> None:
    assert decode_voices(encode_voices("model", voices, aliases)) == VoiceList(voices, aliases)


def test_an_engine_without_aliases_sends_the_list_that_it_always_sent() -> None:
    plain = msgpack.packb({"model": "m", "voices": [{"id": "a", "name": "", "language": ""}]})
    assert encode_voices("m", (Voice("a"),), {}) == encode_voices("m", (Voice("a"),)) == plain


@pytest.mark.parametrize("aliases", [None, [], "a", {"a": 1}, {"a": None}, {"a": ["b"]}])
def test_what_are_no_aliases_is_malformed(aliases: object) -> None:
    with pytest.raises(MalformedMessage):
        decode_voices(msgpack.packb({"model": "m", "voices": [], "aliases": aliases}))


@pytest.mark.parametrize(
    "voices",
    [None, {}, "a", 1, [1], ["a"], [None], [{}], [{"name": "x"}], [{"id": 1}], [{"id": "a", "name": None}]],
)
def test_what_is_no_voice_list_is_malformed(voices: object) -> None:
    with pytest.raises(MalformedMessage):
        decode_voices(msgpack.packb({"model": "m", "voices": voices}))
    with pytest.raises(MalformedMessage):
        decode_voices(msgpack.packb({"model": "m"}))


def test_a_voice_list_is_bounded() -> None:
    most = tuple(Voice(f"{n}") for n in range(MAX_VOICES))
    aliases = {f"alias {n}": "0" for n in range(MAX_VOICES)}
    assert decode_voices(encode_voices("m", most, aliases)) == VoiceList(most, aliases)
    long = "x" * (MAX_VOICE_CHARACTERS + 1)
    for voices, names in [
        ((*most, Voice("one more")), {}),
        (most, {**aliases, "one more": "0"}),
        ((Voice(long),), {}),
        ((Voice("0", name=long),), {}),
        (most, {long: "0"}),
    ]:
        with pytest.raises(MalformedMessage, match="more than"):
            decode_voices(encode_voices("m", voices, names))
