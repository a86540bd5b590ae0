"""What an utterance takes from the engine, and what it calls nonsense."""

from __future__ import annotations

import json
from typing import cast

import pytest

from synth_node.host import EngineWord
from synth_node.process.child import BEGIN
from synth_node.process.engine import EngineProcess, Frame
from synth_node.process.utterance import Utterance


class Process:
    """An engine's process that is never stopped."""

    def resume(self) -> None:
        """Go on."""


def utterance(text: str = "hello you") -> Utterance:
    return Utterance(cast(EngineProcess, Process()), 1, n_characters=len(text), idle_s=1.0, bound_s=60.0)


def words(*values: object) -> Frame:
    return Frame(ord("W"), 1, json.dumps(values).encode())


async def test_words_are_there_with_their_audio_and_taken_once() -> None:
    spoken = utterance()
    for frame in (
        Frame(ord("B"), 1, BEGIN.pack(22050, 1)),
        words((0, 5, 0, 90)),
        Frame(ord("A"), 1, bytes(200)),
        words((6, 3, 110, 200)),
        Frame(ord("A"), 1, bytes(200)),
    ):
        assert not spoken.take(frame)
    assert await spoken.next() == bytes(400)
    assert spoken.take_words() == [EngineWord(0, 5, 0, 90), EngineWord(6, 3, 110, 200)]
    assert spoken.take_words() == []


async def test_words_of_an_utterance_that_was_left_are_not_kept() -> None:
    spoken = utterance()
    spoken.take(words((0, 5, 0, 90)))
    spoken.drop()
    spoken.take(words((6, 3, 110, 200)))
    assert spoken.take_words() == []


@pytest.mark.parametrize(
    "nonsense",
    [
        *([0, 5, 0], [0, 5, 0, 1, 2], [0, 5, 0, 1.5], [True, 5, 0, 1], ["0", 5, 0, 1], 7, None),
        *([-1, 5, 0, 1], [0, 0, 0, 1], [5, 5, 0, 1], [0, 10, 0, 1]),
        *([0, 5, 9, 8], [0, 5, -1, 8], [0, 5, 0, 2**50]),
    ],
)
async def test_a_word_that_is_none_is_nonsense(nonsense: object) -> None:
    with pytest.raises((ValueError, TypeError)):  # both of which kill the engine
        utterance().take(words(nonsense))


async def test_words_out_of_order_or_without_end_are_nonsense() -> None:
    spoken = utterance()
    spoken.take(words((6, 3, 50, 90)))
    with pytest.raises(ValueError, match="order"):
        spoken.take(words((0, 5, 49, 60)))
    spoken = utterance()
    spoken.take(words(*[(0, 1, i, i) for i in range(9)]))
    with pytest.raises(ValueError, match="more words than characters"):
        spoken.take(words((0, 1, 9, 9)))
