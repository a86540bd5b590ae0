"""The stream protocol on the wire: strict, and open for what comes later."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import MalformedMessage
from antiphon.events import (
    MAX_CHUNK_BYTES,
    Accepted,
    AudioChunk,
    End,
    Failure,
    Position,
    Progress,
    Segment,
    Unknown,
    Word,
    Words,
    decode_event,
    encode_event,
)
from antiphon.feedback import Cancel, Credit, decode_cancel, decode_credit, encode_cancel, encode_credit

INTS = st.integers(0, 2**63)
INTS32 = st.integers(0, 2**32)
STATS = {"n": 2, "bytes": 300, "audio_ms": 40, "synthesis_ms": 7}
EVENTS = st.one_of(
    st.builds(
        Accepted,
        node=st.text(),
        slot=INTS,
        model=st.none()
        | st.from_regex(r"[\w-]{1,9}", fullmatch=True, alphabet=st.characters(max_codepoint=127)),
    ),
    st.builds(
        AudioChunk,
        seq=INTS,
        audio=st.binary(min_size=1),
        at=st.none() | st.builds(Position, INTS, st.floats(0, 1e9), st.floats(0, 1e9)),
    ),
    st.builds(
        lambda i, more, offset, n: Segment(i, i + more, offset, n), INTS32, st.integers(1, 9), INTS, INTS
    ),
    st.builds(Words, st.lists(st.builds(Word, INTS, INTS, INTS, INTS), max_size=3).map(tuple)),
    st.just(Progress()),
    st.builds(End, stats=st.fixed_dictionaries(dict.fromkeys(STATS, INTS))),
    st.builds(Failure, code=st.text(), text=st.text(), param=st.none() | st.text()),
)
DEEP = b"\x91" * 100_000


@given(run=st.text(), event=EVENTS)
def test_an_event_comes_back(run: str, event: Any) -> None:
    data = encode_event(run, event)
    assert decode_event(data) == (run, event)
    array = msgpack.unpackb(data)
    assert array[:2] == [run, event.kind]
    assert isinstance(array[-1], dict), "every event ends in a map for later additions"


@given(data=st.binary())
@example(DEEP)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
@example(b"\x81\x90\x90")
@example(b"\xd6\xff\x00\x00\x00\x00")
def test_any_other_bytes_are_malformed_and_nothing_else(data: bytes) -> None:
    for decode in (decode_event, decode_cancel, decode_credit):
        with suppress(MalformedMessage):
            decode(data)


@given(values=st.lists(st.none() | st.booleans() | st.integers(-5, 5) | st.text() | st.binary(), max_size=4))
def test_any_other_values_are_malformed_and_nothing_else(values: list[object]) -> None:
    for kind in ("accepted", "audio", "progress", "segment", "words", "end", "error"):
        with suppress(MalformedMessage):
            decode_event(msgpack.packb(["run", kind, *values, {}]))


@pytest.mark.parametrize(
    "array",
    [
        [],
        ["run"],
        ["run", "progress"],
        [1, "progress", {}],
        [b"run", "progress", {}],
        [None, "progress", {}],
        ["run", 1, {}],
        ["run", "progress", []],
        ["run", "progress", None],
        ["run", "progress", "one too many", {}],
        ["run", "accepted", {}],
        ["run", "accepted", "node", {}],
        ["run", "accepted", "node", "0", {}],
        ["run", "accepted", "node", True, {}],
        ["run", "accepted", "node", 0.0, {}],
        ["run", "accepted", b"node", 0, {}],
        ["run", "accepted", "node", 0, 1, {}],
        ["run", "audio", 0, "text", {}],
        ["run", "audio", 0, b"", {}],
        ["run", "audio", False, b"x", {}],
        ["run", "audio", "0", b"x", {}],
        ["run", "audio", 0, b"x" * (MAX_CHUNK_BYTES + 1), {}],
        ["run", "audio", 0, b"x", {"at": 1}],
        ["run", "audio", 0, b"x", {"at": [1]}],
        ["run", "audio", 0, b"x", {"at": [0, -0.1, 0]}],
        ["run", "audio", 0, b"x", {"at": [0, 0, float("nan")]}],
        ["run", "segment", 0, 1, 0, {}],
        ["run", "segment", 1, 1, 0, 5, {}],
        ["run", "segment", 0, 1, -1, 5, {}],
        ["run", "segment", 0, 1, True, 5, {}],
        ["run", "words", {}],
        ["run", "words", 5, {}],
        ["run", "words", [[0, 1, 2]], {}],
        ["run", "words", [[0, 1, 2, -3]], {}],
        ["run", "end", 3, {}],
        ["run", "end", {}, {}],
        ["run", "end", {**STATS, "n": True}, {}],
        ["run", "end", {**STATS, "bytes": 1.5}, {}],
        ["run", "end", {**STATS, "audio_ms": None}, {}],
        ["run", "end", {"n": 1, "bytes": 1, "audio_ms": 1}, {}],
        ["run", "error", "code", {}],
        ["run", "error", 500, "text", {}],
        ["run", "error", "code", b"text", {}],
        ["run", "error", "code", "text", "more", {}],
        {"run": 1, "audio": 2},
        "text",
        5,
        None,
    ],
)
def test_what_is_no_event_is_malformed(array: object) -> None:
    with pytest.raises(MalformedMessage):
        decode_event(msgpack.packb(array))


def test_the_shortest_and_the_longest_chunk() -> None:
    for audio in (b"x", b"x" * MAX_CHUNK_BYTES):
        assert decode_event(encode_event("r", AudioChunk(0, audio))) == ("r", AudioChunk(0, audio))
    with pytest.raises(ValueError, match="bytes in one chunk"):
        AudioChunk(0, b"")


@pytest.mark.parametrize("values", [[], [1, 2, 3], ["x", {"y": [None]}]])
def test_a_kind_of_a_newer_version_is_unknown(values: list[object]) -> None:
    data = msgpack.packb(["run", "visemes", *values, {"more": 1}])
    assert decode_event(data) == ("run", Unknown("visemes"))


def test_what_a_newer_version_adds_is_ignored() -> None:
    more = {"later": [1, {"deep": 2}]}
    assert decode_event(msgpack.packb(["r", "progress", more])) == ("r", Progress())
    assert decode_event(msgpack.packb(["r", "accepted", "n", 1, more])) == ("r", Accepted("n", 1))
    run, end = decode_event(msgpack.packb(["r", "end", {**STATS, "phonemes": 12}, more]))
    assert isinstance(end, End)
    assert (run, end.n_chunks, end.n_bytes, end.audio_ms, end.synthesis_ms) == ("r", 2, 300, 40, 7)


@pytest.mark.parametrize(("told", "read"), [({"model": "m"}, "m"), ({"model": 5}, None), ({}, None)])
def test_the_node_s_model_travels_in_the_last_map(told: dict[str, object], read: str | None) -> None:
    assert decode_event(msgpack.packb(["r", "accepted", "n", 1, told])) == ("r", Accepted("n", 1, read))
    assert msgpack.unpackb(encode_event("r", Accepted("n", 1)))[-1] == {}


def test_a_model_that_is_no_token_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        decode_event(msgpack.packb(["r", "accepted", "n", 1, {"model": "a\r\nb"}]))


@pytest.mark.parametrize(("param", "read"), [("voice", "voice"), (5, None), (None, None), ([], None)])
def test_the_field_at_fault_travels_in_the_last_map(param: object, read: str | None) -> None:
    data = msgpack.packb(["r", "error", "unknown_voice", "no such voice", {"param": param}])
    assert decode_event(data) == ("r", Failure("unknown_voice", "no such voice", read))
    assert msgpack.unpackb(encode_event("r", Failure("c", "t")))[-1] == {}


@given(run=st.text(), n_bytes=INTS)
def test_a_credit_and_a_cancel_come_back(run: str, n_bytes: int) -> None:
    assert decode_credit(encode_credit(Credit(run, n_bytes))) == Credit(run, n_bytes)
    assert decode_cancel(encode_cancel(Cancel(run))) == Cancel(run)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"run": "r"},
        {"bytes": 1},
        {"run": 1, "bytes": 1},
        {"run": "r", "bytes": -1},
        {"run": "r", "bytes": True},
        {"run": "r", "bytes": 1.0},
        {"run": "r", "bytes": "1"},
        ["r", 1],
    ],
)
def test_what_is_no_credit_is_malformed(values: object) -> None:
    with pytest.raises(MalformedMessage):
        decode_credit(msgpack.packb(values))


@pytest.mark.parametrize("values", [{}, {"run": 1}, {"run": None}, {"run": b"r"}, ["r"], "r"])
def test_what_is_no_cancel_is_malformed(values: object) -> None:
    with pytest.raises(MalformedMessage):
        decode_cancel(msgpack.packb(values))


def test_a_credit_and_a_cancel_of_a_newer_version_are_read() -> None:
    assert decode_credit(msgpack.packb({"run": "r", "bytes": 5, "more": 1})) == Credit("r", 5)
    assert decode_cancel(msgpack.packb({"run": "r", "why": "impatience"})) == Cancel("r")
