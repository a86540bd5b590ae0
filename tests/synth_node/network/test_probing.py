"""Probes of an engine behind the network: before the first slot joins, and while it pauses."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from antiphon.errors import Draining
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineUnavailable
from synth_node.network.engine import Unreachable
from synth_node.network.host import Network, NetworkHost
from synth_node.network.throttle import Throttle
from tests.synth_node.conftest import GUARD_S, soon
from tests.synth_node.network.scripted import Engine


async def test_slots_wait_for_the_first_probe_that_succeeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_node.network.host.MIN_PROBE_S", 0.001)
    throttle, told = Throttle(1), list[EngineInfo]()
    engine = Engine(throttle)
    engine.probes = [Unreachable("no route"), Unreachable("no route"), None]
    async with asyncio.timeout(GUARD_S), Network(engine, throttle, told.append) as network:
        with capture_logs() as logs:
            keeping = asyncio.create_task(network.keep_open())
            async with NetworkHost(network, slot=0, voice=None) as host:
                await host.ready()
        assert [log["reason"] for log in logs] == ["no route", "no route"]
        assert engine.probes == []
        keeping.cancel()


async def test_a_pause_is_for_what_the_last_probe_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_node.network.host.MIN_PROBE_S", 0.001)
    throttle, told = Throttle(3), list[EngineInfo]()
    results: asyncio.Queue[Exception | None] = asyncio.Queue()

    class Waiting(Engine):
        async def probe(self) -> None:
            if (failure := await results.get()) is not None:
                raise failure

    async with asyncio.timeout(GUARD_S), Network(Waiting(throttle), throttle, told.append) as network:
        keeping = asyncio.create_task(network.keep_open())
        results.put_nowait(Unreachable("no route"))
        await soon(lambda: throttle.paused_for == "no route", "it says what is wrong")
        results.put_nowait(None)
        await network.opened.wait()
        assert (throttle.paused_for, throttle.limit) == (None, 3)
        throttle.pause("no route", for_s=0)
        results.put_nowait(EngineUnavailable("KEY is unknown"))
        await soon(lambda: throttle.paused_for == "KEY is unknown", "it says what else is wrong")
        with pytest.raises(Draining, match="KEY is unknown"):
            throttle.check_open()
        results.put_nowait(None)
        await soon(lambda: throttle.paused_for is None, "it speaks again")
        assert throttle.limit == 1
        keeping.cancel()


async def test_settings_at_fault_end_the_start() -> None:
    throttle = Throttle(1)
    engine = Engine(throttle)
    engine.probes = [EngineUnavailable("KEY is unknown")]
    async with asyncio.timeout(GUARD_S), Network(engine, throttle, lambda _: None) as network:
        with pytest.raises(EngineUnavailable, match="KEY is unknown"):
            await network.keep_open()


async def test_settings_at_fault_do_not_end_a_node_that_has_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_node.network.host.MIN_PROBE_S", 0.001)
    throttle, told = Throttle(1), list[EngineInfo]()
    engine = Engine(throttle)
    async with asyncio.timeout(GUARD_S), Network(engine, throttle, told.append) as network:
        keeping = asyncio.create_task(network.keep_open())
        await network.opened.wait()
        assert told == [], "the slots tell that themselves"
        engine.probes = [EngineUnavailable("KEY is unknown"), None]
        throttle.pause("KEY is unknown", for_s=0)
        await soon(lambda: throttle.paused_for is None, "it speaks again")
        assert engine.probes == []
        assert told == [engine.info]
        keeping.cancel()


async def test_a_pause_that_comes_during_a_probe_outlasts_it() -> None:
    throttle = Throttle(2)

    class Told(Engine):
        async def probe(self) -> None:
            if throttle.paused_for == "no route":
                throttle.pause(
                    "the day's limit is used up", for_s=GUARD_S
                )  # as one that is still at work finds
                probed.set()

    probed = asyncio.Event()
    async with asyncio.timeout(GUARD_S), Network(Told(throttle), throttle, lambda _: None) as network:
        keeping = asyncio.create_task(network.keep_open())
        await network.opened.wait()
        throttle.pause("no route", for_s=0)
        await probed.wait()
        assert (throttle.paused_for, throttle.limit) == ("the day's limit is used up", 0)
        keeping.cancel()
