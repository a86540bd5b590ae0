"""The engine and the stand-in for its service, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from synth_node.engines.xunfei.engine import Xunfei
from synth_node.engines.xunfei.settings import XunfeiSettings
from synth_node.network.throttle import Throttle
from tests.conftest import GUARD_S
from tests.fake_xunfei.messages import Order
from tests.fake_xunfei.server import FakeXunfei
from tests.fake_xunfei.voice import Audio

MODES = ("online", "super-human")
VOICES = {"online": "xiaoyan", "super-human": "x5_lingxiaoxuan_flow"}


def settings_for(fake: FakeXunfei, **changes: Any) -> XunfeiSettings:
    """Return settings with which the stand-in is the service, whatever the environment says."""
    mode = changes.get("mode", "online")
    values = {
        "app_id": fake.app.app_id,
        "api_key": fake.app.api_key,
        "api_secret": fake.app.api_secret,
        "url": fake.url if mode == "online" else fake.super_url,
    }
    return XunfeiSettings(**{**values, **changes})


@asynccontextmanager
async def speaking(
    fake: FakeXunfei, *, most: int = 4, hold_s: float = GUARD_S, **changes: Any
) -> AsyncIterator[tuple[Xunfei, Throttle]]:
    """Give an engine that has been probed. changes: of the settings."""
    throttle = Throttle(most, hold_s=hold_s)
    async with asyncio.timeout(GUARD_S), Xunfei(settings_for(fake, **changes), throttle) as engine:
        await engine.probe()
        throttle.open()
        try:
            yield engine, throttle
        finally:
            throttle.close()


def gated(fake: FakeXunfei, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Have the stand-in answer no request before the event."""
    go_on = asyncio.Event()
    speak = fake.speak

    async def speak_later(order: Order) -> Audio:
        await go_on.wait()
        return await speak(order)

    monkeypatch.setattr(fake, "speak", speak_later)
    return go_on


def recorded(fake: FakeXunfei, monkeypatch: pytest.MonkeyPatch) -> list[Audio]:
    """Return a list that will hold all that the stand-in says."""
    made: list[Audio] = []
    speak = fake.speak

    async def speak_and_note(order: Order) -> Audio:
        made.append(await speak(order))
        return made[-1]

    monkeypatch.setattr(fake, "speak", speak_and_note)
    return made
