"""What nobody may see: secrets in a log or an error, and one caller's text in what others see."""

from __future__ import annotations

import logging

import pytest
from structlog.testing import capture_logs

from antiphon.errors import (
    SpeechError,
)
from synth_node.network.trouble import MAX_WORDS
from tests.fake_xunfei.handshake import REFUSALS
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei
from tests.fake_xunfei.session import MESSAGES
from tests.synth_node.network.support import spoken, until_failed
from tests.synth_node.xunfei.support import MODES, speaking


@pytest.mark.parametrize("mode", MODES)
async def test_no_secret_is_logged_or_told(
    fake: FakeXunfei, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.WARNING, logger="websockets.server")  # the stand-in logs all it gets
    app = fake.app
    told: list[str] = []
    with capture_logs() as logs:
        async with speaking(fake, mode=mode, attempts=2) as (engine, throttle):
            for scenario in Scenario:
                if scenario in (Scenario.HANG, Scenario.HANG_LATER, Scenario.REFUSAL):
                    continue
                fake.next(scenario, code=10163)
                try:
                    await spoken(engine)
                except SpeechError as exc:
                    told.append(f"{exc!r} {exc}")
            for name in REFUSALS:
                fake.next(Scenario.REFUSAL, refusal=name, times=2)
                _, failure = await until_failed(engine)
                told.append(f"{failure!r} {failure} {throttle.paused_for}")
                throttle.open()
            told.append(repr(engine._settings) + repr(engine._credentials))
    seen = "\n".join([*told, *map(str, logs), caplog.text])
    assert len(told) > len(REFUSALS)
    for secret in (app.api_key, app.api_secret, "authorization=", "signature=", "YXBpX2tleT0"):
        assert secret not in seen


async def test_a_secret_in_a_servers_own_words_is_not_shown(
    fake: FakeXunfei, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = f"no such thing as {fake.app.api_key} with {fake.app.api_secret}"
    monkeypatch.setitem(REFUSALS, "signature", type(REFUSALS["signature"])(401, words))
    async with speaking(fake) as (engine, throttle):
        fake.next(Scenario.REFUSAL, refusal="signature")
        _, failure = await until_failed(engine)
        assert "no such thing as *** with ***" in str(failure)
        assert throttle.paused_for == str(failure)


@pytest.mark.parametrize("n_before", [MAX_WORDS - 1, MAX_WORDS - 12, MAX_WORDS - 40])
async def test_a_secret_is_struck_out_before_words_are_cut(
    fake: FakeXunfei, monkeypatch: pytest.MonkeyPatch, n_before: int
) -> None:
    shown = []
    for secret in (fake.app.api_key, fake.app.api_secret):
        words = "x" * n_before + secret
        monkeypatch.setitem(REFUSALS, "signature", type(REFUSALS["signature"])(401, words))
        monkeypatch.setitem(MESSAGES, 10163, words)
        async with speaking(fake) as (engine, _):
            fake.next(Scenario.ERROR, code=10163)
            shown.append(await until_failed(engine))
            fake.next(Scenario.REFUSAL, refusal="signature")
            shown.append(await until_failed(engine))
    for _, failure in shown:
        assert "x*" in str(failure), "it was there, and struck out"


async def test_a_services_own_words_are_for_the_caller_only(
    fake: FakeXunfei, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in (10163, 10019):
        monkeypatch.setitem(MESSAGES, code, "what is 'my secret text'?")
    with capture_logs() as logs:
        async with speaking(fake) as (engine, _):
            fake.next(Scenario.ERROR, code=10163)
            _, failure = await until_failed(engine)
            fake.next(Scenario.ERROR, code=10019)
            await spoken(engine)
    assert "my secret text" in str(failure)
    assert [log["event"] for log in logs] == ["the engine's server is asked again"]
    assert "my secret text" not in str(logs)
