"""Nodes that pause, because their service takes nothing: what becomes of requests, and what is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from antiphon.client import TtsClient
from synth_node.network import attempts
from synth_node.network.throttle import Throttle
from synth_node.node import SynthNode
from tests.fake_xunfei.messages import Order
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import fake_xunfei
from tests.fake_xunfei.voice import Audio
from tests.synth_node.conftest import GUARD_S, RawCaller, idle, soon

Start = Callable[..., Any]


def throttle_of(node: SynthNode) -> Throttle:
    network = node.hosts._network
    assert network is not None
    return network.throttle


async def test_a_node_that_pauses_in_the_midst_of_a_text_has_another_one_go_on(
    start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "我们今天讨论语音合成。" * 60
    async with fake_xunfei() as fake, fake_xunfei() as other:
        speak, go_on = fake.speak, asyncio.Event()

        async def speak_first(order: Order) -> Audio:
            if len(fake.orders) > 1:
                await go_on.wait()
            return await speak(order)

        monkeypatch.setattr(fake, "speak", speak_first)
        first = await start(fake, helpers=0)
        async with asyncio.timeout(GUARD_S), aclosing(client.stream(text, model="xunfei")) as chunks:
            await anext(chunks)
            await start(other, helpers=0)
            throttle_of(first).pause("the account is empty", for_s=GUARD_S)
            go_on.set()
            assert [chunk async for chunk in chunks]
    spoken_by = [sum(len(order.text) for order in each.orders) for each in (fake, other)]
    assert 0 < spoken_by[0] < len(text), "what was begun there ended there"
    assert sum(spoken_by) >= len(text)


async def test_a_service_that_takes_nothing_loses_no_request_where_another_node_is_well(
    start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.05)
    async with fake_xunfei() as fake, fake_xunfei() as well:
        fake.always(Scenario.ERROR, code=10010)
        bad, good = await start(fake), await start(well)
        async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(client.speak(f"caller {number}", model="xunfei"))
        assert set(fake.errors_sent) == {10010}
        assert len(well.orders) == 8
        assert str(throttle_of(bad).paused_for).startswith("the service has no room (Xunfei 10010")
        assert idle(bad) == 0
        await soon(lambda: idle(good) == 1, "the other one is free")


async def test_callers_wait_for_the_only_node_while_its_service_takes_nothing(
    start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.0)
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)
    async with fake_xunfei() as fake:
        node = await start(fake, slots=2)
        fake.always(Scenario.ERROR, code=10010)
        async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
            callers = [tasks.create_task(client.speak("hello", model="xunfei")) for _ in range(4)]
            await soon(lambda: len(fake.errors_sent) > 5, "more runs ended than may be lost")
            fake.always(Scenario.FINE)
        assert len({caller.result() for caller in callers}) == 1
        assert throttle_of(node).paused_for is None


async def test_a_caller_waits_until_the_settings_of_all_nodes_are_mended(
    start: Start, client: TtsClient
) -> None:
    async with fake_xunfei() as fake:
        nodes = [await start(fake) for _ in range(4)]
        fake.always(Scenario.ERROR, code=10313)
        speaking = asyncio.create_task(client.speak("hello", model="xunfei"))
        await soon(lambda: all(throttle_of(node).paused_for for node in nodes), "each has been refused")
        assert len(fake.errors_sent) == len(nodes), "more runs ended than may be lost"
        fake.always(Scenario.FINE)
        throttle_of(nodes[0]).open()
        async with asyncio.timeout(GUARD_S):
            assert await speaking


async def test_a_pause_is_told_to_all(
    start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.0)
    async with fake_xunfei() as fake:
        node = await start(fake, voices="xiaoyan")
        await soon(client.can_speak, "it is ready")
        fake.always(Scenario.ERROR, code=10313)
        speaking = asyncio.create_task(client.speak("hello", model="xunfei"))
        await soon(lambda: not client.can_speak(), "it has told of the pause")
        (worker,) = (await client.status()).workers
        assert worker["paused"].startswith("XUNFEI_APP_ID is not the app that XUNFEI_API_KEY belongs to")
        assert (node.state, idle(node)) == ("ready", 0)
        (seen,) = client.cluster.nodes(asyncio.get_running_loop().time())
        assert 20.0 < seen.heartbeat.pause_s <= 30.0
        assert all(secret not in worker["paused"] for secret in (fake.app.api_key, fake.app.api_secret))
        fake.always(Scenario.FINE)
        throttle_of(node).open()
        await soon(client.can_speak, "it speaks again")
        assert await speaking


async def test_a_plain_request_goes_to_the_group_again_when_its_node_pauses(
    start: Start, raw: RawCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.0)
    async with fake_xunfei() as fake, fake_xunfei() as well:
        fake.always(Scenario.ERROR, code=10010)
        await start(fake)
        asking = asyncio.create_task(raw.ask(b"hello", model="xunfei"))
        await soon(lambda: fake.errors_sent == [10010], "it was refused")
        await start(well)
        reply = await asking
    assert reply.headers is not None
    assert reply.headers["Content-Type"] == "audio/mpeg"
    assert reply.data
