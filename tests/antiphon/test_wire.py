"""Maps on the wire: strict types, and one error for bytes that are none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import MalformedMessage
from antiphon.wire import decode_map, encode_map, known_fields, require

LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = LEAVES | st.lists(LEAVES, max_size=3) | st.dictionaries(st.text(), LEAVES, max_size=3)
DEEP = b"\x81\xa1a" * 5000 + b"\xc0"


@given(values=st.dictionaries(st.text(), VALUES, max_size=5))
def test_what_is_encoded_is_decoded(values: dict[str, object]) -> None:
    assert decode_map(encode_map(values)) == values


@given(data=st.binary())
@example(DEEP)
@example(b"\x81\x90\x90")  # a list as a key
@example(b"\xdf\xff\xff\xff\xff")  # four thousand million entries, it says
@example(b"\xdb\xff\xff\xff\xff")
@example(b"\xd6\xff\x00\x00\x00\x00")  # a time stamp
@example(b"\xc1")
def test_any_other_bytes_are_malformed_and_nothing_else(data: bytes) -> None:
    with suppress(MalformedMessage):
        assert isinstance(decode_map(data), dict)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        DEEP,
        msgpack.packb([1, 2]),
        msgpack.packb("text"),
        msgpack.packb({1: 2}),
        msgpack.packb({b"run": "x"}),
        msgpack.packb({"run": "x"}) + b"\x00",
        msgpack.packb({"run": "x"})[:-1],
    ],
)
def test_what_is_no_map_with_string_keys_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_map(data)


@pytest.mark.parametrize(
    ("value", "types"),
    [("a", str), (0, int), (-1, (int, float)), (0.5, (int, float)), (b"", bytes), (True, bool), ({}, dict)],
)
def test_the_right_type_passes(value: object, types: type | tuple[type, ...]) -> None:
    require(value, types, "field")


@pytest.mark.parametrize(
    ("value", "types"),
    [
        *((None, str), (b"a", str), (1, str), ("1", int), (1.0, int), (None, dict), ([], dict), ("a", bytes)),
        *((True, int), (False, (int, float)), (1, bool)),
    ],
)
def test_a_wrong_type_is_named(value: object, types: type | tuple[type, ...]) -> None:
    with pytest.raises(TypeError, match="field is"):
        require(value, types, "field")


def test_keys_of_a_newer_version_are_left_out() -> None:
    @dataclass
    class Known:
        one: int
        two: int = 2

    assert known_fields(Known, {"one": 1, "three": 3}) == {"one": 1}
