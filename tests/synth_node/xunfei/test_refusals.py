"""The engine and the stand-in: what a caller sees of each refusal, and what pauses the engine."""

from __future__ import annotations

import pytest

from antiphon.errors import (
    Draining,
    EngineCrashed,
    EngineFailed,
    InvalidRequest,
    TextTooLong,
    UnknownVoice,
)
from synth_node.engines.xunfei.faults import Kind
from tests.fake_xunfei.apps import ONLINE_VOICES, App
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei
from tests.synth_node.network.support import spoken, until_failed
from tests.synth_node.xunfei.support import speaking
from tests.synth_node.xunfei.test_faults import KINDS

RAISED = {
    Kind.REFUSED: EngineFailed,
    Kind.REQUEST: TextTooLong,
    Kind.VOICE: UnknownVoice,
    Kind.SETTINGS: Draining,
}
CODES = [(kind, code) for kind, codes in KINDS.items() for code in sorted(codes)]


@pytest.mark.parametrize(("kind", "code"), CODES)
async def test_a_code_is_seen_by_the_caller_or_not_at_all(fake: FakeXunfei, kind: Kind, code: int) -> None:
    voice = "aisjiuxu"  # not the default one
    async with speaking(fake) as (engine, throttle):
        fake.next(Scenario.ERROR, code=code)
        if kind in RAISED:
            heard, failure = await until_failed(engine, voice=voice)
            assert type(failure) is RAISED[kind]
            assert heard == b""
            assert str(code) in str(failure)
            assert fake.errors_sent == [code], "it is not asked again: each time may cost"
        else:
            assert await spoken(engine, voice=voice)
            assert fake.errors_sent == [code]
        assert (throttle.paused_for is not None) == (kind is Kind.SETTINGS)
        assert throttle.limit == {Kind.SETTINGS: 0, Kind.BUSY: 1}.get(kind, 4)


@pytest.mark.parametrize("code", [10313, 11200, 11203, 10019, 10163])
async def test_any_code_after_some_audio_lets_others_go_on(fake: FakeXunfei, code: int) -> None:
    async with speaking(fake) as (engine, _):
        fake.next(Scenario.ERROR_LATER, code=code)
        heard, failure = await until_failed(engine)
    assert heard
    assert type(failure) is EngineCrashed
    assert len(fake.orders) == 1


async def test_a_text_that_the_encoding_lacks_is_the_callers_fault(fake: FakeXunfei) -> None:
    async with speaking(fake, tte="GB2312") as (engine, _):
        _, failure = await until_failed(engine, "5 €")
    assert type(failure) is InvalidRequest
    assert failure.param == "text"
    assert fake.orders == []


async def test_a_speed_that_the_service_lacks_is_the_callers_fault(fake: FakeXunfei) -> None:
    async with speaking(fake) as (engine, _):
        _, failure = await until_failed(engine, speed=3.0)
    assert type(failure) is InvalidRequest
    assert failure.param == "speed"


async def test_a_default_voice_that_is_not_allowed_is_the_settings_fault() -> None:
    app = App(voices=ONLINE_VOICES - {"xiaoyan"})
    async with fake_xunfei(apps=(app,)) as fake, speaking(fake) as (engine, throttle):
        _, failure = await until_failed(engine)
        assert type(failure) is Draining
        assert throttle.paused_for == str(failure)
        assert "'xiaoyan' of XUNFEI_VOICES" in str(failure)


async def test_a_voice_that_has_spoken_and_may_not_any_more_pauses_once(fake: FakeXunfei) -> None:
    async with speaking(fake) as (engine, throttle):
        await spoken(engine, voice="aisjiuxu")
        fake.always(Scenario.ERROR, code=11200)
        _, failure = await until_failed(engine, voice="aisjiuxu")
        assert type(failure) is Draining
        assert throttle.paused_for is not None
        assert "quota" in throttle.paused_for
        throttle.open()
        _, failure = await until_failed(engine, voice="aisjiuxu")
        assert type(failure) is UnknownVoice
        assert throttle.paused_for is None


async def test_pauses_grow_longer_until_something_was_spoken(fake: FakeXunfei) -> None:
    async with speaking(fake) as (engine, throttle):
        pauses = []
        for scenario in (Scenario.ERROR, Scenario.ERROR, Scenario.FINE, Scenario.ERROR):
            fake.next(scenario, code=10313)
            if scenario is Scenario.FINE:
                await spoken(engine)
                continue
            await until_failed(engine)
            pauses.append(throttle.pause_s)
            throttle.open()
        assert pauses[1] == 2 * pauses[0]
        assert pauses[2] == pauses[0] > 0
