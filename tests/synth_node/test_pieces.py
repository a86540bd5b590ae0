"""What may stand for a piece of audio, and what is said of anything else."""

from __future__ import annotations

from array import array
from typing import Any

import pytest

from synth_node.engines.pieces import WrongType, audio


class Tensor:
    """Like one of torch: numpy can read it, `memoryview` cannot."""

    def __array__(self) -> None:
        raise AssertionError("a tensor may be on a GPU")


@pytest.mark.parametrize(
    "piece",
    [
        b"\1\0\2\0",
        bytearray(b"\1\0\2\0"),
        array("h", [1, 2]),
        memoryview(array("h", [1, 9, 2, 9]))[::2],
        memoryview(b"\1\0\2\0").cast("h", [1, 2]),
    ],
)
def test_bytes_and_rows_of_16_bit_integers_are_audio(piece: Any) -> None:
    assert audio(piece, 8000) == b"\1\0\2\0"


@pytest.mark.parametrize(
    ("piece", "sentence"),
    [
        (None, "gave None as a piece of audio; it must be bytes or an array of 16-bit integers"),
        (
            0.5,
            "gave float as a piece of audio; .* not one number; the sample rate is an attribute, sample_rate",
        ),
        ((24_000, b""), "gave tuple as a piece of audio; .* the sample rate is an attribute, sample_rate"),
        (Tensor(), r"gave Tensor as a piece of audio; .*: \(samples.clip\(-1, 1\) .*\.cpu\(\)\.numpy\(\)"),
        (
            array("f", [0.5]),
            r"type float32; they must be 16-bit integers: \(samples.clip\(-1, 1\) \* 32767\)",
        ),
        (array("d", [0.5]), "type float64; "),
        (array("i", [1]), "type int32; they must be 16-bit integers$"),
        (array("H", [1]), "type uint16; "),
        (memoryview(bytes(12)).cast("h", [3, 2]), "gave 3 x 2 samples at once; .* one row, of one channel"),
    ],
)
def test_of_anything_else_it_is_said_what_to_do(piece: Any, sentence: str) -> None:
    with pytest.raises(WrongType, match=sentence):
        audio(piece, 8000)


def test_samples_need_a_rate() -> None:
    with pytest.raises(WrongType, match="no attribute sample_rate"):
        audio(array("h", [1]), None)
    assert audio(b"RIFF", None) == b"RIFF"
