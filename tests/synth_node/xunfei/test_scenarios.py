"""The client against everything that the stand-in can do, by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import Enum

import pytest

from antiphon.errors import Draining, EngineCrashed
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei
from tests.synth_node.conftest import GUARD_S, soon
from tests.synth_node.network.support import spoken, until_failed
from tests.synth_node.xunfei.support import MODES, speaking

HANGING_S = 1.5
"""Silence after which the client gives up where the stand-in hangs: time itself is under test there."""


class Outcome(Enum):
    """What the listener notices."""

    WHOLE = "the same audio as ever, from one connection"
    AGAIN = "the same audio as ever, from a second connection"
    BROKEN = "a beginning, and EngineCrashed: others go on at that place"


OUTCOMES = {
    Scenario.FINE: Outcome.WHOLE,
    Scenario.REFUSAL: Outcome.AGAIN,
    Scenario.ERROR: Outcome.AGAIN,
    Scenario.NULL_DATA: Outcome.WHOLE,
    Scenario.NO_DATA: Outcome.WHOLE,
    Scenario.ONE_FRAME: Outcome.WHOLE,
    Scenario.EMPTY_LAST: Outcome.WHOLE,
    Scenario.ODD_PIECES: Outcome.WHOLE,
    Scenario.CONTINUED: Outcome.WHOLE,
    Scenario.BIG_FRAME: Outcome.WHOLE,
    Scenario.SID_ONCE: Outcome.WHOLE,
    Scenario.UNKNOWN_FIELDS: Outcome.WHOLE,
    Scenario.BINARY: Outcome.WHOLE,
    Scenario.OUT_OF_ORDER: Outcome.WHOLE,
    Scenario.GARBAGE: Outcome.AGAIN,
    Scenario.NOT_AN_OBJECT: Outcome.AGAIN,
    Scenario.BAD_BASE64: Outcome.AGAIN,
    Scenario.NO_AUDIO: Outcome.AGAIN,
    Scenario.EARLY_CLOSE: Outcome.BROKEN,
    Scenario.CLOSE_AT_ONCE: Outcome.AGAIN,
    Scenario.ABORT: Outcome.BROKEN,
    Scenario.ABORT_AT_ONCE: Outcome.AGAIN,
    Scenario.HANG: Outcome.AGAIN,
    Scenario.HANG_LATER: Outcome.BROKEN,
    Scenario.ERROR_LATER: Outcome.BROKEN,
    Scenario.STAY_OPEN: Outcome.WHOLE,
}
HANGING = {Scenario.HANG, Scenario.HANG_LATER}
WITHOUT_A_FRAME = {Scenario.ABORT, Scenario.ABORT_AT_ONCE, Scenario.STAY_OPEN}


@pytest.fixture
async def fake() -> AsyncIterator[FakeXunfei]:
    async with fake_xunfei(piece_bytes=1024, close_delay_s=0.5) as running:
        yield running


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", Scenario)
async def test_a_scenario_ends_as_it_should(fake: FakeXunfei, scenario: Scenario, mode: str) -> None:
    outcome = OUTCOMES[scenario]
    idle_s = HANGING_S if scenario in HANGING else GUARD_S
    async with speaking(fake, mode=mode, idle_s=idle_s) as (engine, throttle):
        plain = await spoken(engine)
        assert len(plain) > 20 * 1024
        before = len(fake.authorizations)
        fake.next(scenario, code=10019)
        if outcome is Outcome.BROKEN:
            heard, failure = await until_failed(engine)
            assert isinstance(failure, EngineCrashed)
            assert 0 < len(heard) < len(plain)
            assert plain.startswith(heard)
        else:
            assert await spoken(engine) == plain
        signed = fake.authorizations[before:]
        assert len(signed) == len(set(signed)) == (2 if outcome is Outcome.AGAIN else 1)
        assert throttle.paused_for is None
        assert await spoken(engine) == plain, "and it goes on"
    await soon(lambda: fake.open == 0, "every connection is closed")
    await soon(lambda: len(fake.close_codes) == fake.total, "how they were closed is known")
    codes = {1000} if scenario not in WITHOUT_A_FRAME else {1000, 1006}
    assert set(fake.close_codes) <= codes


def test_every_scenario_has_its_outcome() -> None:
    assert set(OUTCOMES) == set(Scenario)


@pytest.mark.parametrize("scenario", [each for each in Scenario if OUTCOMES[each] is Outcome.AGAIN])
async def test_what_goes_on_failing_is_given_up(fake: FakeXunfei, scenario: Scenario) -> None:
    async with speaking(fake, idle_s=0.05, attempts=3) as (engine, throttle):
        fake.always(scenario, code=10019)
        before = len(fake.authorizations)
        heard, failure = await until_failed(engine)
        # Without a connection nobody could be spoken for; a probe will tell when it comes about again.
        away = scenario is Scenario.REFUSAL
        assert type(failure) is (Draining if away else EngineCrashed)
        assert heard == b""
        assert len(fake.authorizations) - before == 3
        assert (throttle.paused_for is not None) == away
