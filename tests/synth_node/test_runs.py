"""Runs that end before their audio does: cancelled, without a caller, out of time."""

from __future__ import annotations

import pytest

from antiphon.events import Accepted, AudioChunk, Failure, Progress
from synth_node.node import SynthNode
from tests.synth_node.conftest import FAULTS, RawCaller, StartNode, free, soon


@pytest.mark.parametrize("way", ["subject", "inbox"])
async def test_a_cancelled_run_frees_its_slot_and_says_nothing_more(
    start: StartNode, raw: RawCaller, way: str
) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"stream 0.02")
    await stream.until(AudioChunk)
    if way == "subject":
        await stream.cancel(node.id)
    else:
        await raw.nc.publish(stream.reply, b"anything")
    await free(node)
    await raw.nc.flush()
    while not stream.events.empty():
        assert isinstance(stream.events.get_nowait(), (AudioChunk, Progress))
    assert await no_traces(node)


async def test_a_caller_that_died_frees_its_slot(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"hang")
    assert isinstance(await stream.next(), Accepted)
    await stream.subscription.unsubscribe()
    # The next sign of life meets nobody, and the server says so.
    await free(node)
    assert await no_traces(node)


async def test_a_run_ends_with_its_budget(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"hang", Tts_Budget_Ms="150")
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "deadline_exceeded"
    reply = await raw.ask_when_free(b"hang", Tts_Budget_Ms="150")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] == "deadline_exceeded"
    await free(node)
    assert await no_traces(node)


async def test_without_a_budget_the_nodes_own_holds(start: StartNode, raw: RawCaller) -> None:
    await start(engine=FAULTS, budget_s=0.15)
    reply = await raw.ask(b"hang")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] == "deadline_exceeded"


async def no_traces(node: SynthNode) -> bool:
    """Wait until no run and no inbox token is left."""
    await soon(lambda: not node.runs and len(node.inboxes) == 0, "no run is left")
    return True
