"""Claims against scripted nodes: what becomes of each attempt to get a slot."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.client import TtsClient
from antiphon.errors import InvalidRequest, SpeechError, TextTooLong
from antiphon.events import Failure
from tests.antiphon.conftest import StartClient, knows
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode
from tests.antiphon.support_dispatch import HASTY, no_tokens_left, within_guard


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
