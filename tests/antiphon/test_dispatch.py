"""The bounds of waiting for a slot, what is forecast, and what others are told of it."""

from __future__ import annotations

import asyncio

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient
from antiphon.errors import AllSlotsBusy, QueueFull
from antiphon.events import Failure
from antiphon.heartbeat import Running, Waiting, decode_waiting
from antiphon.request import SpeechRequest
from antiphon.subjects import Subjects
from antiphon.ticket import Limits
from tests.antiphon.conftest import Speak, StartClient, dispatcher_of, knows, waiting_in
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, soon
from tests.antiphon.support_dispatch import no_tokens_left, within_guard


async def test_a_full_queue_refuses(caller: StartClient, node: ScriptedNode, speak: Speak) -> None:
    tts = await caller(limits=Limits(max_waiting=2))
    await knows(tts, node)
    await speak(tts, "one", "two")
    with pytest.raises(QueueFull):
        await tts.speak("three", model=MODEL)
    assert [await node.serve(), await node.serve()] == ["one", "two"]
    await no_tokens_left(tts)


async def test_the_bytes_that_wait_are_bounded(caller: StartClient, node: ScriptedNode, speak: Speak) -> None:
    tts = await caller(limits=Limits(max_waiting_bytes=1000))
    await knows(tts, node)
    await speak(tts, "a" * 800)
    with pytest.raises(QueueFull):
        await tts.speak("b" * 800, model=MODEL)
    await speak(tts, "short")
    assert [len(await node.serve()), len(await node.serve())] == [800, 5]


async def test_a_lost_run_comes_back_into_a_full_queue(
    caller: StartClient, node: ScriptedNode, speak: Speak
) -> None:
    tts = await caller(limits=Limits(max_waiting=1))
    await knows(tts, node)
    (one,) = await speak(tts, "one")
    await node.arm(announce=True)
    msg = await node.request()
    run = await node.accept(msg)
    await speak(tts, "two")
    await node.send(msg, run, Failure("engine_crashed", "it crashed"))
    assert [await node.serve(), await node.serve()] == ["one", "two"]
    assert await within_guard(one) == b"one"


async def test_the_wait_for_a_slot_is_bounded(tts: TtsClient, node: ScriptedNode) -> None:
    with pytest.raises(AllSlotsBusy):
        async with tts.utterance(SpeechRequest("hello"), model=MODEL, wait_s=0.05):
            raise AssertionError("nobody spoke")
    assert waiting_in(tts) == 0
    await no_tokens_left(tts)


async def test_who_waited_for_an_engine_that_pauses_is_told_why(tts: TtsClient, node: ScriptedNode) -> None:
    await knows(tts, node, idle=0, paused="the server wants another KEY")
    with pytest.raises(AllSlotsBusy, match="in time, for its engine pauses: the server wants another KEY"):
        await tts.speak("hello", model=MODEL, timeout_s=0.05)


async def test_who_comes_in_a_long_pause_is_told_so_at_once(tts: TtsClient, node: ScriptedNode) -> None:
    await knows(tts, node, idle=0, paused="the server wants another KEY", pause_s=500.0)
    with pytest.raises(AllSlotsBusy, match="500 s only, for its engine pauses: the server wants") as refused:
        await tts.speak("hello", model=MODEL, timeout_s=GUARD_S)
    assert refused.value.retry_after_s == pytest.approx(500.0, abs=5.0)


async def test_the_budget_ends_the_wait_too(tts: TtsClient, node: ScriptedNode) -> None:
    with pytest.raises(AllSlotsBusy):
        await tts.speak("hello", model=MODEL, timeout_s=0.05)
    assert waiting_in(tts) == 0


async def test_a_wait_that_would_be_too_long_is_refused_at_once_with_a_forecast(
    tts: TtsClient, node: ScriptedNode, speak: Speak
) -> None:
    running = (Running("r", 1000, 0.0),)
    await knows(tts, node, idle=0, busy=1, running=running, seconds_per_character=0.1)
    with pytest.raises(AllSlotsBusy, match="100 s") as refused:
        async with asyncio.timeout(GUARD_S), tts.utterance(SpeechRequest("no"), model=MODEL, wait_s=50):
            raise AssertionError("nobody spoke")
    assert refused.value.retry_after_s == pytest.approx(100, abs=5)
    await speak(tts, "x" * 200, timeout_s=300)
    with pytest.raises(AllSlotsBusy) as refused:
        async with asyncio.timeout(GUARD_S), tts.utterance(SpeechRequest("no"), model=MODEL, wait_s=110):
            raise AssertionError("nobody spoke")
    assert refused.value.retry_after_s == pytest.approx(120, abs=5), "what waits is in front of it"


async def test_what_others_have_waiting_is_in_the_forecast(
    caller: StartClient, node: ScriptedNode, speak: Speak
) -> None:
    first, second = await caller(), await caller()
    for each in (first, second):
        await knows(each, node, idle=0, busy=1, seconds_per_character=0.1)
    assert second.forecast(MODEL) == 0.0
    await speak(first, "x" * 100, timeout_s=300)
    await soon(lambda: (second.forecast(MODEL) or 0.0) > 9.0, "the report has come")
    assert second.waiting() == 1


# -- what others are told


async def test_what_waits_is_reported_and_nothing_at_the_end(
    tts: TtsClient, node: ScriptedNode, speak: Speak, raw: Client, subjects: Subjects
) -> None:
    reports: asyncio.Queue[tuple[str, Waiting]] = asyncio.Queue()

    async def on_waiting(msg: Msg) -> None:
        reports.put_nowait((msg.subject, decode_waiting(msg.data)))

    async def reported(waiting: Waiting) -> str:
        while True:
            subject, report = await asyncio.wait_for(reports.get(), GUARD_S)
            if report == waiting:
                return subject

    await raw.subscribe(subjects.waiting_all, cb=on_waiting)
    await settled(raw)
    await speak(tts, "four")
    subject = await reported(Waiting(1, 4))
    assert subject == subjects.waiting(MODEL, dispatcher_of(tts).caller)
    await speak(tts, "seven..")
    await reported(Waiting(2, 11))
    await reported(Waiting(2, 11))  # again a second later, for who has come meanwhile
    await node.serve()
    await reported(Waiting(1, 7))
    await node.serve()
    await reported(Waiting(0, 0))
