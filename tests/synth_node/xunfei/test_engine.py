"""The engine and the stand-in: what is asked for, what is joined, who waits, who leaves."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import av
import pytest

from antiphon.errors import EngineCrashed, InvalidRequest
from synth_node.host import EngineRequest
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei
from tests.synth_node.conftest import soon
from tests.synth_node.network.support import TEXT, spoken, until_failed
from tests.synth_node.xunfei.support import MODES, VOICES, gated, speaking


@pytest.fixture
async def quick() -> AsyncIterator[FakeXunfei]:
    """The stand-in with few frames, for long texts."""
    async with fake_xunfei(piece_bytes=256 * 1024) as running:
        yield running


LONG = "我们今天讨论语音合成。" * 500


# -- what is asked for


@pytest.mark.parametrize("mode", MODES)
async def test_a_request_says_what_the_settings_and_the_caller_want(fake: FakeXunfei, mode: str) -> None:
    voices = "a,x4_xiaoyan" if mode == "online" else "a,x5_lingfeiyi_flow"
    async with speaking(fake, mode=mode, voices=voices, volume=0.5, pitch=2, sample_rate=8000) as (engine, _):
        assert engine.info.sample_rate == 8000
        voice = engine.info.voices[1].id
        audio = await spoken(engine, "你好。", voice=voice, speed=0.5)
    (order,) = fake.orders
    manner = order.manner
    assert (order.text, manner.voice, manner.speed) == ("你好。", voice, 0)
    assert (manner.volume, manner.pitch, manner.sample_rate, manner.mp3) == (25, 100, 8000, False)
    assert len(audio) == 2 * round(3 * 0.06 * 2 * 8000)


@pytest.mark.parametrize("mode", MODES)
async def test_the_nodes_speed_is_multiplied_by_the_requests(fake: FakeXunfei, mode: str) -> None:
    async with speaking(fake, mode=mode, speed=1.149) as (engine, _):
        await spoken(engine)
        await spoken(engine, speed=2.0)
        _, failure = await until_failed(engine, speed=2.5)
    assert [order.manner.speed for order in fake.orders] == [60, 100]
    assert isinstance(failure, InvalidRequest)


@pytest.mark.parametrize("mode", MODES)
async def test_the_first_voice_is_the_default(fake: FakeXunfei, mode: str) -> None:
    async with speaking(fake, mode=mode) as (engine, _):
        await spoken(engine)
    assert fake.orders[0].manner.voice == VOICES[mode]


@pytest.mark.parametrize("tte", ["UTF8", "UNICODE", "GB2312", "GBK", "BIG5", "GB18030"])
async def test_every_encoding_arrives(fake: FakeXunfei, tte: str) -> None:
    async with speaking(fake, tte=tte) as (engine, _):
        await spoken(engine, "中文 and English.")
    assert fake.orders[0].text == "中文 and English."


# -- texts that one request cannot hold


@pytest.mark.parametrize("mode", MODES)
async def test_a_long_text_is_spoken_on_one_connection_after_another(quick: FakeXunfei, mode: str) -> None:
    async with speaking(quick, mode=mode, most=1) as (engine, _):
        audio = await spoken(engine, LONG)
        rate = engine.info.sample_rate
        assert rate is not None
    assert "".join(order.text for order in quick.orders) == LONG
    assert len(quick.orders) == quick.total - 1 > 2, "one connection was the probe"
    assert all(order.n_bytes < 8000 and order.text.endswith("。") for order in quick.orders)
    assert quick.peak == 1
    assert len(audio) == 2 * sum(round(len(order.text) * 0.06 * rate) for order in quick.orders)


async def test_half_a_sample_at_the_end_of_one_connection_does_not_shift_the_next(
    quick: FakeXunfei, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak = quick.speak
    made: list[bytes] = []

    async def speak_oddly(order: Any) -> Any:
        audio = await speak(order)
        made.append(audio.data)
        return type(audio)(audio.data + b"\x7f", audio.seconds)

    monkeypatch.setattr(quick, "speak", speak_oddly)
    async with speaking(quick) as (engine, _):
        audio = await spoken(engine, LONG)
    assert len(made) > 2
    assert audio == b"".join(made)


async def test_files_of_several_connections_become_one_file(quick: FakeXunfei) -> None:
    async with speaking(quick, aue="lame") as (engine, _):
        assert engine.info.sample_rate is None
        short, long = await spoken(engine, "短。"), await spoken(engine, LONG)
    assert [order.manner.mp3 for order in quick.orders] == [True] + [False] * (len(quick.orders) - 1)
    assert short.startswith(b"\xff")
    seconds = sum(len(order.text) * 0.06 for order in quick.orders[1:])
    with av.open(io.BytesIO(long), "r", format="wav") as file:
        frames = list(file.decode(audio=0))
    assert frames[0].sample_rate == 16000
    assert sum(frame.samples for frame in frames) == pytest.approx(seconds * 16000, abs=len(quick.orders))


async def test_a_failure_on_a_later_connection_is_tried_again_there(quick: FakeXunfei) -> None:
    async with speaking(quick) as (engine, _):
        plain = await spoken(engine, LONG)
        n_connections = quick.total
        quick.next(Scenario.FINE)
        quick.next(Scenario.CLOSE_AT_ONCE)
        assert await spoken(engine, LONG) == plain
    assert quick.total == 2 * (n_connections - 1) + 2


async def test_marks_alone_may_be_silence_but_words_may_not(fake: FakeXunfei) -> None:
    fake.always(Scenario.NO_AUDIO)
    async with speaking(fake, attempts=2) as (engine, _):
        assert await spoken(engine, "……") == b""
        _, failure = await until_failed(engine, "Word.")
    assert isinstance(failure, EngineCrashed)
    assert "without audio" in str(failure)


# -- cancelling, and how much at once


async def test_a_listener_who_leaves_closes_the_connection(fake: FakeXunfei) -> None:
    async with speaking(fake, most=1) as (engine, throttle):
        fake.next(Scenario.HANG_LATER)
        async with aclosing(engine.speak(EngineRequest(TEXT))) as pieces:
            await anext(pieces)
            assert fake.open == 1
        await soon(lambda: fake.open == 0, "the connection is closed")
        fake.next(Scenario.HANG)
        waiting = asyncio.create_task(spoken(engine))
        await soon(lambda: len(fake.orders) == 2, "it has asked")
        waiting.cancel()
        await asyncio.wait({waiting})
        await soon(lambda: fake.open == 0, "the connection is closed")
        await soon(lambda: len(fake.close_codes) == fake.total, "how they were closed is known")
        assert set(fake.close_codes) == {1000}
        assert await spoken(engine), "its place is free again"
        assert throttle.limit == 1


async def test_as_many_as_allowed_speak_at_once_and_never_more(
    fake: FakeXunfei, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = gated(fake, monkeypatch)
    async with speaking(fake, most=5) as (engine, _), asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(spoken(engine)) for _ in range(20)]
        await soon(lambda: len(fake.orders) == 5, "five speak")
        assert fake.open == 5
        go_on.set()
        heard = [await caller for caller in callers]
    assert fake.peak == 5
    assert len(set(heard)) == 1
    assert fake.errors_sent == []


async def test_a_service_that_takes_less_is_asked_for_less_and_everybody_is_heard() -> None:
    async with (
        fake_xunfei(most_at_once=2, service_s=0.02) as fake,
        speaking(fake, most=8) as (engine, throttle),
        asyncio.TaskGroup() as tasks,
    ):
        callers = [tasks.create_task(spoken(engine)) for _ in range(24)]
        heard = [await caller for caller in callers]
        assert throttle.limit <= 2
    assert len(set(heard)) == 1
    assert set(fake.errors_sent) == {11203}
    assert len(fake.errors_sent) <= 24, "far fewer refusals than tries without a limit"


async def test_a_service_that_counts_starts_is_waited_for() -> None:
    now = [time.time()]
    async with (
        fake_xunfei(most_per_s=3, clock=lambda: now[0]) as fake,
        speaking(fake, most=8) as (engine, throttle),
        asyncio.TaskGroup() as tasks,
    ):
        callers = [tasks.create_task(spoken(engine)) for _ in range(6)]
        await soon(lambda: throttle.limit < 8, "some are refused")
        assert set(fake.errors_sent) == {11202}
        while not all(caller.done() for caller in callers):
            now[0] += 1
            await asyncio.sleep(0.01)  # the stand-in's clock goes on, which has no event
        assert len({caller.result() for caller in callers}) == 1


async def test_nobody_waits_for_a_close_but_the_next_turn(fake: FakeXunfei) -> None:
    async with speaking(fake, most=1) as (engine, throttle):
        fake.next(Scenario.STAY_OPEN)
        await spoken(engine)
        following = asyncio.create_task(throttle.turn().__aenter__())
        await asyncio.sleep(0)
        assert not following.done(), "the service counts the connection until it is closed"
        await following
        assert fake.open == 0
