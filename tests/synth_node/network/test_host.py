"""A slot with an engine on the node's loop: what it takes, when it leaves the group, what is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any

import pytest
from structlog.testing import capture_logs

from antiphon.errors import Draining, EngineCrashed, EngineFailed, UnknownVoice
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest, EngineUnavailable
from synth_node.network.host import MAX_BUFFERED_BYTES, Network, NetworkHost, NetworkUtterance
from synth_node.network.throttle import Throttle
from tests.synth_node.conftest import GUARD_S, soon
from tests.synth_node.network.scripted import PIECE, Engine


@asynccontextmanager
async def hosts(n: int = 1, *, voice: str | None = None, **options: Any) -> AsyncIterator[list[NetworkHost]]:
    throttle, told = Throttle(n, **options), list[EngineInfo]()
    engine = Engine(throttle)
    async with asyncio.timeout(GUARD_S), Network(engine, throttle, told.append) as network:
        keeping = asyncio.create_task(network.keep_open())
        made = [NetworkHost(network, slot=number, voice=voice) for number in range(n)]
        try:
            async with AsyncExitStack() as stack:
                for host in made:
                    await stack.enter_async_context(host)
                    await host.ready()
                yield made
        finally:
            keeping.cancel()


def engine_of(host: NetworkHost) -> Engine:
    engine = host._engine
    assert isinstance(engine, Engine)
    return engine


async def heard(utterance: NetworkUtterance) -> bytes:
    audio = bytearray()
    while (piece := await utterance.next()) is not None:
        audio += piece
    return bytes(audio)


async def test_an_utterance_comes_whole_and_the_slot_is_ready_again() -> None:
    async with hosts() as (host,):
        utterance = host.speak(EngineRequest("3"))
        assert not host.is_ready
        assert utterance.sample_rate == 16_000
        assert await heard(utterance) == 3 * PIECE
        host.leave(utterance)
        await host.ready()
        assert host.seconds_per_character > 0


async def test_voices_are_checked_and_aliases_resolved() -> None:
    async with hosts(voice="anna") as (host,):
        for asked, spoken in ((None, "anna"), ("alloy", "ben"), ("ben", "ben")):
            await heard(host.speak(EngineRequest("1", voice=asked)))
            assert engine_of(host).requests[-1].voice == spoken
            await host.ready()
        with pytest.raises(UnknownVoice, match="cesar"):
            await heard(host.speak(EngineRequest("1", voice="cesar")))


async def test_a_default_voice_that_does_not_exist_is_no_start() -> None:
    with pytest.raises(EngineUnavailable, match="'cesar', which is to be the default"):
        async with hosts(voice="cesar"):
            pass


async def test_a_failure_comes_behind_what_was_made() -> None:
    async with hosts() as (host,):
        utterance = host.speak(EngineRequest("fail"))
        assert await utterance.next() == PIECE
        with pytest.raises(EngineFailed):
            await utterance.next()
        await host.ready()


async def test_a_defect_of_the_engine_ends_the_utterance_only_and_shows_nothing() -> None:
    async with hosts() as (host,):
        with capture_logs() as logs, pytest.raises(EngineCrashed) as caught:
            await heard(host.speak(EngineRequest("break")))
        assert "secret" not in str(caught.value)
        assert logs[0]["event"] == "unexpected failure in the engine"
        await host.ready()
        assert await heard(host.speak(EngineRequest("1"))) == PIECE


async def test_leaving_cancels_and_frees_the_slot() -> None:
    async with hosts() as (host,):
        utterance = host.speak(EngineRequest("hang"))
        await soon(lambda: engine_of(host).n_open == 1, "it has begun")
        host.leave(utterance)
        await host.ready()
        assert engine_of(host).n_open == 0


async def test_an_engine_is_asked_for_no_more_than_the_listener_takes() -> None:
    async with hosts() as (host,):
        n = 4 * MAX_BUFFERED_BYTES // len(PIECE)
        utterance = host.speak(EngineRequest(str(n)))
        enough = MAX_BUFFERED_BYTES // len(PIECE)
        await soon(lambda: engine_of(host).n_pieces > enough, "the buffer is full")
        for _ in range(10):
            await asyncio.sleep(0)
        assert engine_of(host).n_pieces == enough + 1
        assert len(await heard(utterance)) == n * len(PIECE)


async def test_the_engines_time_is_without_that_in_which_nobody_listens() -> None:
    pause_s = 0.1
    async with hosts() as (host,):
        text = str(4 * MAX_BUFFERED_BYTES // len(PIECE))
        began_at = monotonic()
        utterance = host.speak(EngineRequest(text))
        await soon(lambda: engine_of(host).n_pieces > MAX_BUFFERED_BYTES // len(PIECE), "the buffer is full")
        await asyncio.sleep(pause_s)
        await heard(utterance)
        assert 0 < host.seconds_per_character * len(text) <= monotonic() - began_at - pause_s


async def test_an_idle_slot_is_told_to_leave_when_the_limit_falls() -> None:
    async with hosts(2) as (busy, idle):
        throttle = engine_of(idle).throttle
        unready = idle.unready()
        utterance = busy.speak(EngineRequest("hang"))
        async with throttle.turn():
            throttle.refused()
        assert unready.done()
        assert not idle.is_ready
        assert idle.unready().done(), "asked again, it is the same"
        waiting = asyncio.create_task(idle.ready())
        busy.leave(utterance)
        await busy.ready()
        assert not waiting.done(), "one place is left, and it is the other's"
        waiting.cancel()


async def test_a_text_goes_on_in_a_slot_that_has_to_leave_and_the_other_waits() -> None:
    async with hosts(2) as (first, second):
        throttle = engine_of(first).throttle
        first.unready(), second.unready()
        for host in (first, second):
            await host.free()
            await heard(host.speak(EngineRequest("1")))
        async with throttle.turn():
            throttle.refused()
        assert throttle.limit == 1
        for host in (first, second):
            await host.free()
            await heard(host.speak(EngineRequest("1")))
        await second.free()
        assert not second.is_ready, "its text is over: of two places that are taken there is one"
        waiting = asyncio.create_task(second.ready())
        await first.free()
        assert await heard(first.speak(EngineRequest("1"))) == PIECE
        assert not waiting.done()
        await first.free()
        assert first.is_ready, "one place is left, and it is this slot's"
        assert not first.unready().done()
        waiting.cancel()


async def test_a_place_that_is_lost_before_the_slot_joins_is_given_back_then() -> None:
    async with hosts(2) as (first, second):
        throttle = engine_of(first).throttle
        async with throttle.turn():
            throttle.refused()
        assert first.unready().done()
        assert not second.unready().done()


async def test_a_pause_ends_a_text_between_two_segments_and_one_that_comes_late() -> None:
    async with hosts() as (host,):
        unready = host.unready()
        await host.free()
        await heard(host.speak(EngineRequest("1")))
        engine_of(host).throttle.pause("KEY is unknown", for_s=GUARD_S)
        with pytest.raises(Draining, match="KEY is unknown"):
            await host.free()
        assert not unready.done()
        assert not host.is_ready
        assert host.unready().done()
        with pytest.raises(Draining, match="KEY is unknown"):
            await host.free()


async def test_a_request_that_comes_while_its_slot_leaves_is_spoken() -> None:
    async with hosts(2) as (busy, idle):
        unready = idle.unready()
        throttle = engine_of(busy).throttle
        async with throttle.turn():
            throttle.refused()
        assert unready.done()
        await idle.free()
        assert await heard(idle.speak(EngineRequest("1"))) == PIECE
