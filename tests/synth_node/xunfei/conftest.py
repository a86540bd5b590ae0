"""The stand-in for the service, and nodes with the engine."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from antiphon.subjects import Subjects
from synth_node.engines.xunfei import session as session_module
from synth_node.node import SynthNode
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei
from tests.synth_node.conftest import running_node, settings_of
from tests.synth_node.xunfei.support import settings_for

Start = Callable[..., Any]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch, second_tries_come_soon: None) -> None:
    """Have each signature come a second after the last, as in slow motion."""
    seconds = itertools.count()
    began_at = time.time()
    clock = SimpleNamespace(time=lambda: began_at + next(seconds), monotonic=time.monotonic)
    monkeypatch.setattr(session_module, "time", clock)


@pytest.fixture
async def fake() -> AsyncIterator[FakeXunfei]:
    """The stand-in; a text is some frames of audio, and the connection is closed late."""
    async with fake_xunfei(piece_bytes=1024, close_delay_s=0.2) as running:
        yield running


@pytest.fixture
async def start(nats_url: str, subjects: Subjects) -> AsyncIterator[Start]:
    """Return a function that starts a node with the engine; options but `slots` are the engine's."""
    async with AsyncExitStack() as stack:

        async def begin(fake: FakeXunfei, *, slots: int = 1, helpers: int = 16, **options: Any) -> SynthNode:
            settings = settings_of(
                nats_url, subjects, engine="xunfei", model="xunfei", slots=slots, helpers=helpers
            )
            node = running_node(nats_url, settings, settings_for(fake, **options))
            return await stack.enter_async_context(node)

        yield begin
