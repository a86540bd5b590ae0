"""Claims and the FIFO against scripted nodes: who gets a slot, who is woken, what becomes of attempts."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient
from antiphon.errors import (
    AllSlotsBusy,
    InvalidRequest,
    NoNodes,
    QueueFull,
    SpeechError,
    TextTooLong,
)
from antiphon.events import Accepted, AudioChunk, Failure, Progress, encode_event
from antiphon.feedback import decode_cancel
from antiphon.heartbeat import Running, Waiting, decode_waiting
from antiphon.request import SpeechRequest
from antiphon.run import Timing
from antiphon.subjects import Subjects
from antiphon.ticket import Limits
from tests.antiphon.conftest import (
    PATIENT,
    Speak,
    StartClient,
    StartNode,
    dispatcher_of,
    knows,
    waiting_in,
)
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, soon, text_of

HASTY = Timing(accept_min_s=0.05, accept_max_s=0.05, retry_s=0.2, settle_s=0.2)


async def within_guard(task: asyncio.Task[bytes]) -> bytes:
    return await asyncio.wait_for(task, GUARD_S)


async def no_tokens_left(tts: TtsClient) -> None:
    await soon(lambda: len(dispatcher_of(tts).inboxes) == 0, "no inbox token is left")


# -- claims


async def test_a_free_slot_is_claimed_at_once(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, voice="anna", timeout_s=30))
    msg = await node.request()
    assert msg.headers is not None
    assert msg.headers["Tts-Reply"] == "stream"
    assert len(msg.headers["Tts-Id"]) == 32
    assert 29_000 < int(msg.headers["Tts-Budget-Ms"]) <= 30_000
    assert "Tts-Attempt" not in msg.headers
    await node.finish(msg, await node.accept(msg), b"audio")
    assert await within_guard(speaking) == b"audio"
    await no_tokens_left(tts)
    assert node.cancels.empty()


async def test_each_request_and_each_attempt_has_an_inbox_of_its_own(
    tts: TtsClient, node: ScriptedNode
) -> None:
    speaking = [asyncio.create_task(tts.speak(text, model=MODEL)) for text in ("one", "two")]
    seen = set()
    for _ in range(2):
        await node.arm(announce=True)
        msg = await node.request()
        seen.add(msg.reply)
        await node.send(msg, await node.accept(msg), Failure("engine_crashed", "crashed"))
    for _ in range(2):
        await node.arm(announce=True)
        msg = await node.request()
        seen.add(msg.reply)
        await node.finish(msg, await node.accept(msg))
    assert len(seen) == 4
    assert [await within_guard(each) for each in speaking] == [b"one", b"two"]


async def test_an_unanswered_request_is_sent_again(caller: StartClient, node: ScriptedNode) -> None:
    tts = await caller(timing=HASTY)
    await knows(tts, node)
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, timeout_s=5))
    ignored = await node.request()
    await node.arm()
    again = await node.request()
    assert again.headers is not None
    assert ignored.headers is not None
    assert "Tts-Attempt" not in again.headers, "no run was lost"
    assert again.headers["Tts-Id"] == ignored.headers["Tts-Id"]
    assert int(again.headers["Tts-Budget-Ms"]) < int(ignored.headers["Tts-Budget-Ms"])
    assert again.reply != ignored.reply
    run = await node.accept(again)

    late = await node.accept(ignored)
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == late, "locked to the first accepted"
    await node.finish(again, run)
    assert await within_guard(speaking) == b"hello"


async def test_an_attempt_that_is_accepted_late_is_taken_if_none_was_before(
    caller: StartClient, node: ScriptedNode
) -> None:
    tts = await caller(timing=HASTY)
    await knows(tts, node)
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, timeout_s=5))
    slow = await node.request()
    await node.arm()
    again = await node.request()
    run = await node.accept(slow)
    other = await node.accept(again)
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == other
    await node.finish(slow, run, b"of the first attempt")
    assert await within_guard(speaking) == b"of the first attempt"


async def test_an_acceptance_after_its_caller_left_is_cancelled(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    speaking.cancel()
    await asyncio.wait({speaking})
    run = await node.accept(msg)
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run
    await no_tokens_left(tts)


async def test_a_token_is_kept_for_a_late_acceptance_until_the_budget_ends(
    tts: TtsClient, node: ScriptedNode
) -> None:
    await node.arm()
    with pytest.raises(SpeechError):
        await tts.speak("hello", model=MODEL, timeout_s=0.1)
    await no_tokens_left(tts)
    run = await node.accept(await node.request())
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run, "nobody waits for it any more"


async def test_a_slot_that_is_leaving_does_not_end_a_request(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    await node.refuse("draining")
    assert await node.serve() == "hello"
    assert await within_guard(speaking) == b"hello"
    await no_tokens_left(tts)


async def test_what_a_node_says_of_the_request_itself_is_final(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, voice="nobody"))
    await node.refuse("invalid_request", param="voice")
    with pytest.raises(InvalidRequest, match="because of") as refused:
        await within_guard(speaking)
    assert refused.value.param == "voice"
    await no_tokens_left(tts)


async def test_a_request_that_no_message_can_carry_is_refused(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    with pytest.raises(TextTooLong):
        await tts.speak("x" * tts.connection.nc.max_payload, model=MODEL)
    assert tts.connection.nc.is_connected
    assert node.requests.empty()
    await no_tokens_left(tts)


# -- the FIFO


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


# -- bounds


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


# -- nobody there


async def test_a_model_that_never_had_a_node_is_refused_when_that_is_certain(caller: StartClient) -> None:
    tts = await caller(timing=Timing(settle_s=0.2, status_s=0.05, retry_s=0.05))
    for _ in range(2):
        with pytest.raises(NoNodes) as refused:
            async with asyncio.timeout(GUARD_S):
                await tts.speak("hello", model="nobody")
        assert refused.value.param == "model"
        assert tts.connection.connected_for_s >= 0.2
    await no_tokens_left(tts)


async def test_until_it_is_certain_that_there_is_no_node_a_request_waits(
    caller: StartClient, scripted: StartNode, speak: Speak
) -> None:
    tts = await caller(timing=Timing(settle_s=60.0, status_s=0.05, retry_s=0.05))
    (speaking,) = await speak(tts, "hello")
    node = await scripted()
    assert await node.serve() == "hello"
    assert await within_guard(speaking) == b"hello"


async def test_what_waits_for_a_model_whose_nodes_died_goes_on_waiting(
    caller: StartClient, node: ScriptedNode, scripted: StartNode, speak: Speak
) -> None:
    tts = await caller(timing=HASTY)
    await knows(tts, node)
    (speaking,) = await speak(tts, "hello")
    await node.beat(state="left")
    await soon(lambda: dispatcher_of(tts).absent(MODEL), "no node lives")
    with pytest.raises(NoNodes):
        await asyncio.wait_for(tts.speak("newcomer", model=MODEL), GUARD_S)
    successor = await scripted()
    await knows(tts, successor)
    assert await successor.serve() == "hello"
    assert await within_guard(speaking) == b"hello"


async def test_who_waited_in_vain_for_nodes_that_died_is_told_so(
    caller: StartClient, node: ScriptedNode
) -> None:
    tts = await caller(timing=HASTY)
    await knows(tts, node)
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, timeout_s=2.0))
    await soon(lambda: waiting_in(tts) == 1, "it waits")
    await node.beat(state="left")
    with pytest.raises(NoNodes, match=f"no node of model {MODEL} is alive"):
        await within_guard(speaking)


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


async def test_a_run_that_nobody_knows_is_cancelled_at_most_once_a_second(
    tts: TtsClient, node: ScriptedNode
) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    run = await node.accept(msg)
    for _ in range(5):
        await node.send(msg, "stranger", Progress(), AudioChunk(0, b"of another run"))
    await node.finish(msg, run)
    assert await within_guard(speaking) == b"hello"
    for _ in range(5):
        await node.send(msg, run, AudioChunk(1, b"more of a run that is over"))
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == "stranger"
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run
    await tts.connection.nc.flush()
    await settled(node.nc)
    assert node.cancels.empty()


async def test_what_comes_for_a_token_that_never_was_is_cancelled(
    tts: TtsClient, node: ScriptedNode, raw: Client
) -> None:
    cancelled: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = raw.new_inbox()

    async def on_cancel(msg: Msg) -> None:
        cancelled.put_nowait(msg)

    await raw.subscribe(inbox, cb=on_cancel)
    subject = dispatcher_of(tts).inboxes.subject("nobody")
    for junk in (b"", b"junk", encode_event("over", Failure("internal", "no need to answer"))):
        await raw.publish(subject, junk, reply=inbox)
    await raw.publish(subject, encode_event("r", Progress()))  # names nobody to tell
    await raw.publish(subject, encode_event("r", Progress()), reply=inbox)
    msg = await asyncio.wait_for(cancelled.get(), GUARD_S)
    assert decode_cancel(msg.data).run == "r"
    assert cancelled.empty()


async def test_junk_on_an_inbox_harms_nobody(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    for junk in (b"", b"\xc1", b"\x91" * 5000, b"text", b"\x00" * 100):
        await node.nc.publish(msg.reply, junk)
    run = await node.accept(msg)
    for junk in (b"", b"\xc1", b"\x91" * 5000):
        await node.nc.publish(msg.reply, junk)
    await node.finish(msg, run)
    assert await within_guard(speaking) == b"hello"
    assert text_of(msg) == "hello"
