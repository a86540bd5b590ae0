"""Requests for a model of which no node lives."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.errors import NoNodes
from antiphon.run import Timing
from tests.antiphon.conftest import Speak, StartClient, StartNode, dispatcher_of, knows, waiting_in
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, soon
from tests.antiphon.support_dispatch import HASTY, no_tokens_left, within_guard


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
