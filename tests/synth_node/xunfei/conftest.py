"""Nodes with the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from antiphon.subjects import Subjects
from synth_node.node import SynthNode
from tests.fake_xunfei.server import FakeXunfei
from tests.synth_node.conftest import running_node, settings_of
from tests.synth_node.xunfei.support import settings_for

Start = Callable[..., Any]


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
