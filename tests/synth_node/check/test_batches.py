"""An engine that speaks several texts at once is checked with several at once."""

from __future__ import annotations

import asyncio

import pytest

from synth_node.check.finding import Verdict, exit_status
from synth_node.check.trial import NotBack
from tests.synth_node.check.support_check import ENGINES, check

DEFECTS = f"{ENGINES / 'defect_batches.py'}:"


@pytest.mark.parametrize(
    ("engine", "value"),
    [
        ("Sound", "3 at once, each the same bytes as alone"),
        ("Streaming", "3 at once, each the same bytes as alone"),
        ("Moody", "3 at once, each as long as alone"),
    ],
)
async def test_a_sound_engine_is_told_that_its_batches_are(engine: str, value: str) -> None:
    checked = await check(DEFECTS + engine)
    assert checked.problems == []
    assert (checked["batches"].verdict, checked["batches"].value) == (Verdict.OK, value)


@pytest.mark.parametrize(
    ("engine", "value"),
    [
        ("Swapped", "request 1 of 3 gets the audio of request 3"),
        ("Sorted", "request 1 of 3 gets the audio of request 2"),
        ("SwappedAndMoody", "request 1 of 3 lasts "),
        ("Padded", "request 1 of 3 lasts 4.81 s, alone 3.19 s"),
        ("Raises", "ValueError in a batch of 3"),
        ("RaisesLate", "ValueError in a batch of 3"),
        ("TooFew", "WrongNumber in a batch of 3"),
        ("ExceptionForOne", "3 at once: ValueError: too many"),
        ("Dies", "3 at once: the engine ended with exit status 3; started again in "),
    ],
)
async def test_what_goes_wrong_only_in_batches_is_a_problem(engine: str, value: str) -> None:
    checked = await check(DEFECTS + engine)
    assert checked.problems == ["batches"]
    assert value in checked["batches"].value
    assert checked["batches"].advice
    assert exit_status(checked.findings) == 1


async def test_audio_that_differs_a_little_in_a_batch_is_a_warning() -> None:
    checked = await check(DEFECTS + "Trailing")
    assert checked.problems == []
    assert checked["batches"].verdict is Verdict.WARNING
    assert checked["batches"].value == "lengths differ by 0.10 s from those alone"


async def test_batches_for_which_no_time_is_left_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_node.check.run.check_batches", _never)
    checked = await check(DEFECTS + "Sound", timeout_s=4.0)
    assert checked["batches"].value == "not checked: 4 s are over"


async def test_an_engine_that_does_not_come_back_for_a_batch_is_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("synth_node.check.run.check_batches", _not_back)
    assert (await check(DEFECTS + "Sound"))["batches"].value == "no weights"


async def _not_back(*_: object, **__: object) -> None:
    """Fail as one of several that speak at once does."""

    async def speak() -> None:
        raise NotBack("no weights")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(speak())


async def _never(*_: object, **__: object) -> None:
    await asyncio.Event().wait()


async def test_an_engine_without_batches_hears_nothing_of_them() -> None:
    checked = await check("generator")
    assert "batches" not in [found.check for found in checked.findings]
