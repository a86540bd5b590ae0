"""A slot with an engine on the node's loop: what it takes, when it leaves the group, what is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any, Self

import pytest
from structlog.testing import capture_logs

from antiphon.errors import Draining, EngineCrashed, EngineFailed, UnknownVoice
from antiphon.heartbeat import Voice
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest, EngineUnavailable
from synth_node.network.engine import Unreachable
from synth_node.network.host import MAX_BUFFERED_BYTES, Network, NetworkHost, NetworkUtterance
from synth_node.network.throttle import Throttle
from tests.synth_node.conftest import GUARD_S, soon

PIECE = bytes(range(256)) * 16


class Engine:
    """Does what the text says: `<n>` gives so many pieces, `hang` none, `fail` and `break` raise."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.probes: list[Exception | None] = []
        self.requests: list[EngineRequest] = []
        self.n_pieces = 0
        self.n_open = 0

    @property
    def info(self) -> EngineInfo:
        voices = (Voice("anna", "Anna", "de"), Voice("ben", "Ben", "en"))
        return EngineInfo("scripted", 16_000, voices, 0.0, aliases={"alloy": "ben"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self.n_open == 0, "what was begun is over"

    async def probe(self) -> None:
        if self.probes and (failure := self.probes.pop(0)) is not None:
            raise failure

    async def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        self.requests.append(request)
        self.n_open += 1
        try:
            async with self.throttle.turn():
                match request.text:
                    case "hang":
                        await asyncio.Event().wait()
                    case "fail":
                        yield PIECE
                        raise EngineFailed("it did not want to")
                    case "break":
                        raise KeyError("secret")
                for _ in range(int(request.text)):
                    self.n_pieces += 1
                    yield PIECE
        finally:
            self.n_open -= 1


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
