"""The FIFO against scripted nodes: who waits behind whom, and who is woken."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient
from antiphon.errors import AllSlotsBusy
from antiphon.events import Accepted, Failure
from antiphon.subjects import Subjects
from tests.antiphon.conftest import PATIENT, Speak, StartClient, knows, waiting_in
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, soon
from tests.antiphon.support_dispatch import no_tokens_left, within_guard


async def test_requests_wait_in_order(tts: TtsClient, node: ScriptedNode, speak: Speak) -> None:
    texts = ["one", "two", "three", "four", "five"]
    speaking = await speak(tts, *texts)
    assert [await node.serve() for _ in texts] == texts
    assert [await within_guard(each) for each in speaking] == [text.encode() for text in texts]
    assert waiting_in(tts) == 0
    await no_tokens_left(tts)


async def test_a_newcomer_never_overtakes(tts: TtsClient, node: ScriptedNode, speak: Speak) -> None:
    await speak(tts, "first")
    await node.arm()  # free, but nobody was told yet
    await speak(tts, "second")
    await settled(node.nc)
    assert node.requests.empty(), "what comes later waits behind what waits"
    await node.announce()
    assert await node.answer() == "first"
    assert await node.serve() == "second"


async def test_who_waited_in_vain_is_told_so_by_a_late_loop_too(tts: TtsClient, node: ScriptedNode) -> None:
    # The end of the wait and that of the budget, 20 ms later, come in one turn of the loop.
    asyncio.get_running_loop().call_later(0.1, time.sleep, 0.2)
    with pytest.raises(AllSlotsBusy):
        await tts.speak("hello", model=MODEL, timeout_s=0.2)


async def test_a_request_whose_run_was_lost_is_first_again(
    tts: TtsClient, node: ScriptedNode, speak: Speak
) -> None:
    await node.arm()
    lost = asyncio.create_task(tts.speak("lost", model=MODEL))
    msg = await node.request()
    run = await node.accept(msg)
    await speak(tts, "second", "third")
    await node.send(msg, run, Failure("engine_crashed", "it crashed"))
    await soon(lambda: waiting_in(tts) == 3, "it is back")
    assert [await node.serve() for _ in range(3)] == ["lost", "second", "third"]
    assert await within_guard(lost) == b"lost"


async def test_a_run_that_is_lost_as_soon_as_it_is_accepted_comes_back_once(
    tts: TtsClient, node: ScriptedNode
) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    # Both in one write: the run is lost before anybody is told what became of its claim.
    await node.send(msg, "brief", Accepted(node.id, 0), Failure("engine_crashed", "at once"))
    await soon(lambda: waiting_in(tts) == 1, "it waits for another slot")
    assert await node.serve() == "hello"
    assert await within_guard(speaking) == b"hello"
    assert waiting_in(tts) == 0


async def test_one_caller_is_woken_for_each_slot(tts: TtsClient, node: ScriptedNode, speak: Speak) -> None:
    await speak(tts, "one", "two", "three")
    await node.arm()
    await node.arm()
    await node.announce()
    await node.announce()
    assert [await node.answer(), await node.answer()] == ["one", "two"]
    await settled(node.nc)
    assert waiting_in(tts) == 1


async def test_wake_ups_without_a_slot_lose_nobody(tts: TtsClient, node: ScriptedNode, speak: Speak) -> None:
    await speak(tts, "one", "two")
    for _ in range(40):  # more than a membership lasts for
        await node.announce()
    await settled(node.nc)
    # Their claims do not wait for each other, so either may be the one that meets the first slot.
    assert {await node.serve(), await node.serve()} == {"one", "two"}


async def test_wake_ups_that_find_nobody_waiting_are_passed_on(
    tts: TtsClient, node: ScriptedNode, speak: Speak, raw: Client, subjects: Subjects
) -> None:
    heard: asyncio.Queue[Msg] = asyncio.Queue()

    async def on_free(msg: Msg) -> None:
        heard.put_nowait(msg)

    await speak(tts, "only")
    await raw.subscribe(subjects.free(MODEL), cb=on_free)
    await settled(raw)
    for _ in range(3):
        await node.arm()
    for _ in range(3):
        await node.announce()
    assert await node.answer() == "only"
    # The three of the slots, and again the two that nobody here had a use for.
    for _ in range(5):
        await asyncio.wait_for(heard.get(), GUARD_S)


async def test_two_callers_are_served_by_two_slots_that_become_free_at_once(
    caller: StartClient, node: ScriptedNode, speak: Speak
) -> None:
    callers = [await caller(), await caller()]
    for each in callers:
        await knows(each, node)
    for round_ in range(6):
        speaking = [task for each in callers for task in await speak(each, f"{round_}")]
        await node.arm()
        await node.arm()
        await node.announce()
        await node.announce()
        # Both wake-ups may go to one caller, which has one request only.
        assert [await node.answer(), await node.answer()] == [f"{round_}"] * 2
        await asyncio.wait_for(asyncio.gather(*speaking), GUARD_S)


async def test_two_callers_share_the_slots(caller: StartClient, node: ScriptedNode, speak: Speak) -> None:
    callers = [await caller(), await caller()]
    for each in callers:
        await knows(each, node)
    for name, each in zip("ab", callers, strict=True):
        await speak(each, *(f"{name}{i:02}" for i in range(15)))
    served = [await node.serve() for _ in range(30)]
    for name in "ab":
        mine = [text for text in served if text.startswith(name)]
        assert mine == sorted(mine), "each caller's own requests keep their order"
        assert len(mine) == 15
    # By chance alone one of them gets all of the first half once in 16,384 times.
    assert {text[0] for text in served[:15]} == {"a", "b"}


async def test_a_caller_that_leaves_takes_no_wake_up_with_it(
    caller: StartClient, node: ScriptedNode, speak: Speak, subjects: Subjects, nats_url: str
) -> None:
    from antiphon.client import connect

    stays = await caller()
    await knows(stays, node)
    async with connect(nats_url, subjects=subjects, timing=PATIENT) as leaves:
        await knows(leaves, node)
        (leaving,) = await speak(leaves, "leaves")
        (staying,) = await speak(stays, "stays")
        leaving.cancel()
        await asyncio.wait({leaving})
    assert await node.serve() == "stays"
    assert await within_guard(staying) == b"stays"


async def test_a_request_leaves_the_fifo_with_its_caller(
    tts: TtsClient, node: ScriptedNode, speak: Speak
) -> None:
    one, two, three = await speak(tts, "one", "two", "three")
    two.cancel()
    await asyncio.wait({two})
    assert waiting_in(tts) == 2
    assert [await node.serve(), await node.serve()] == ["one", "three"]
    assert [await within_guard(one), await within_guard(three)] == [b"one", b"three"]
    await no_tokens_left(tts)
