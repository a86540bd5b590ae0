"""A process that slots share: its start, its bounds, its end."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from antiphon.background import background
from antiphon.errors import EngineCrashed
from synth_node.host import EngineUnavailable
from synth_node.process.batch_host import BatchEngine, BatchHost
from synth_node.process.options import EngineOptions
from tests.synth_node.conftest import GUARD_S, Notes
from tests.synth_node.process.support_batches import BATCHES, say_all, sharing


async def test_a_batch_that_is_at_it_for_too_long_is_killed_also_if_it_is_not_silent() -> None:
    async with sharing("Streaming", 2, segment_s=0.2, segment_s_per_character=0.01) as hosts:
        ends = await say_all(hosts, "endless", "endless")
        sentence = "the engine worked for 0.34 s on a batch of 2"
        assert all(isinstance(each, EngineCrashed) and sentence in str(each) for each in ends)
        assert await say_all(hosts, "a", "b") == ["a", "b"]


@pytest.mark.parametrize("form", ["Whole", "Streaming", "AsyncStreaming"])
async def test_a_shared_process_is_warmed_up_and_replaced_between_two_batches(
    form: str, notes: Notes
) -> None:
    async with sharing(form, 2, warm_up="warm", recycle_after=4) as hosts:
        for _ in range(5):
            assert await say_all(hosts, "a", "b") == ["a", "b"]
    starts = [n for n, batch in enumerate(notes.batches()) if batch == ["warm"]]
    assert len(starts) >= 3, "four segments are two batches; the first process lives for one or two"
    assert all(after - before in (2, 3) for before, after in pairwise(starts))


async def test_an_engine_that_fails_in_its_warm_up_does_not_start() -> None:
    options = EngineOptions(warm_up="raise no kernel")
    engine = BatchEngine(BATCHES + "Whole", number=0, options=options, wait_s=0.01)
    async with asyncio.timeout(GUARD_S), background() as spawn:
        spawn(engine.run(), "engine process")
        with pytest.raises(EngineUnavailable, match="failed in its warm-up: ValueError: no kernel"):
            await BatchHost(engine).__aenter__()
