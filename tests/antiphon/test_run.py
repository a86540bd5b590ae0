"""The caller's side of one run: order and completeness, flow control, dead and frozen nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats.errors
import pytest

from antiphon.connection import Connection, connected
from antiphon.errors import BadAudio, RunLost, SpeechError, UnknownVoice
from antiphon.events import Accepted, AudioChunk, End, Event, Failure, Progress, Unknown
from antiphon.request import DEFAULT_WINDOW_BYTES
from antiphon.run import Run, Timing
from antiphon.subjects import Subjects
from tests.antiphon.conftest import StartNode
from tests.antiphon.scripted_node import GUARD_S, ScriptedNode, settled, soon

QUICK = Timing(silence_s=0.02, ping_s=0.05, settle_s=0.0)
ANSWERED = Timing(silence_s=0.02, ping_s=GUARD_S, settle_s=0.0)
UNHURRIED = Timing(silence_s=60.0)
PIECE = b"x" * (64 * 1024)


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url, name="test", within_s=GUARD_S) as made:
        yield made


def run_on(
    connection: Connection, subjects: Subjects, node: ScriptedNode | str, timing: Timing = UNHURRIED
) -> Run:
    address = node if isinstance(node, str) else node.id
    return Run(connection, subjects, timing, id="r1", node=address, slot=0)


def end(n: int, n_bytes: int) -> End:
    return End({"n": n, "bytes": n_bytes, "audio_ms": 1, "synthesis_ms": 1})


async def heard(run: Run, *events: Event) -> list[bytes]:
    """Feed a run, and return its audio."""
    for event in events:
        run.feed(event)
    async with asyncio.timeout(GUARD_S):
        return [chunk async for chunk in run.audio()]


async def test_audio_comes_in_order_and_complete(connection: Connection, subjects: Subjects) -> None:
    run = run_on(connection, subjects, "n")
    events = (AudioChunk(0, b"ab"), AudioChunk(1, b"c"), end(2, 3))
    assert await heard(run, *events) == [b"ab", b"c"]
    assert run.end == end(2, 3)
    assert run.over


async def test_what_is_no_audio_is_passed_over(connection: Connection, subjects: Subjects) -> None:
    run = run_on(connection, subjects, "n")
    events = (Accepted("n", 0), Progress(), AudioChunk(0, b"a"), Unknown("visemes"), Progress(), end(1, 1))
    assert await heard(run, *events) == [b"a"]


@pytest.mark.parametrize(
    "events",
    [
        [AudioChunk(1, b"a"), end(1, 1)],
        [AudioChunk(0, b"a"), AudioChunk(2, b"b"), end(2, 2)],
        [AudioChunk(0, b"a"), AudioChunk(0, b"a"), end(2, 2)],
        [AudioChunk(0, b"a"), end(2, 1)],
        [AudioChunk(0, b"a"), end(1, 2)],
        [AudioChunk(0, b"a"), end(0, 0)],
        [end(1, 1)],
    ],
)
async def test_a_gap_or_a_wrong_end_is_a_lost_run(
    connection: Connection, subjects: Subjects, events: list[Event]
) -> None:
    run = run_on(connection, subjects, "n")
    with pytest.raises(RunLost):
        await heard(run, *events)
    assert run.end is None


async def test_what_the_node_reports_is_raised_after_the_audio(
    connection: Connection, subjects: Subjects
) -> None:
    run = run_on(connection, subjects, "n")
    run.feed(AudioChunk(0, b"a"))
    run.feed(Failure("unknown_voice", "no such voice", "voice"))
    audio = run.audio()
    assert await anext(audio) == b"a"
    with pytest.raises(UnknownVoice, match="no such voice") as raised:
        await anext(audio)
    assert raised.value.param == "voice"


@pytest.mark.parametrize(("code", "type_"), [("bad_audio", BadAudio), ("of_the_future", SpeechError)])
async def test_a_code_is_raised_as_its_type(
    connection: Connection, subjects: Subjects, code: str, type_: type[SpeechError]
) -> None:
    with pytest.raises(SpeechError) as raised:
        await heard(run_on(connection, subjects, "n"), Failure(code, "text"))
    assert type(raised.value) is type_


async def test_a_node_whose_connection_is_gone_is_dead(connection: Connection, subjects: Subjects) -> None:
    with pytest.raises(RunLost, match="dead"):
        await heard(run_on(connection, subjects, "gone", QUICK))


async def test_a_node_that_does_not_answer_is_frozen(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    with pytest.raises(RunLost, match="frozen"):
        await heard(run_on(connection, subjects, node, QUICK))
    assert not node.pings.empty()


async def test_a_node_that_lives_but_sends_nothing_has_lost_the_run(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    hearing = asyncio.create_task(heard(run_on(connection, subjects, node, ANSWERED)))
    for _ in range(ANSWERED.silences + 1):
        ping = await asyncio.wait_for(node.pings.get(), GUARD_S)
        await node.nc.publish(ping.reply, b"{}")
    with pytest.raises(RunLost, match="sends nothing more"):
        await asyncio.wait_for(hearing, GUARD_S)


async def test_signs_of_life_keep_a_slow_run(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    run = run_on(connection, subjects, node, ANSWERED)
    hearing = asyncio.create_task(heard(run))
    for _ in range(3 * ANSWERED.silences):
        ping = await asyncio.wait_for(node.pings.get(), GUARD_S)
        await node.nc.publish(ping.reply, b"{}")
        await node.nc.flush()
        run.feed(Progress())
    run.feed(AudioChunk(0, b"at last"))
    run.feed(end(1, 7))
    assert await asyncio.wait_for(hearing, GUARD_S) == [b"at last"]


async def test_what_came_while_the_node_was_asked_counts(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    run = run_on(connection, subjects, node, QUICK)
    hearing = asyncio.create_task(heard(run))
    await asyncio.wait_for(node.pings.get(), GUARD_S)  # is never answered
    run.feed(AudioChunk(0, b"a"))
    run.feed(end(1, 1))
    assert await asyncio.wait_for(hearing, GUARD_S) == [b"a"]


async def test_nobody_is_asked_while_audio_flows(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    run = run_on(connection, subjects, node, Timing(silence_s=5.0))
    assert await heard(run, *(AudioChunk(i, b"a") for i in range(50)), end(50, 50)) == [b"a"] * 50
    assert node.pings.empty()


async def test_audio_that_is_taken_is_credited(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    run = run_on(connection, subjects, node)
    n = 4 * DEFAULT_WINDOW_BYTES // len(PIECE)
    await heard(run, *(AudioChunk(i, PIECE) for i in range(n)), end(n, n * len(PIECE)))
    await connection.nc.flush()
    granted = 0
    while granted < (n - 5) * len(PIECE):
        name, n_bytes = await asyncio.wait_for(node.credits.get(), GUARD_S)
        assert name == "r1"
        granted += n_bytes
    assert granted <= n * len(PIECE), "no more than was taken"


async def test_a_slow_listener_slows_its_own_run_only(
    connection: Connection, subjects: Subjects, scripted: StartNode
) -> None:
    quick_node, slow_node = await scripted(), await scripted()
    quick, slow = run_on(connection, subjects, quick_node), run_on(connection, subjects, slow_node)
    for i in range(8):
        quick.feed(AudioChunk(i, PIECE))
        slow.feed(AudioChunk(i, PIECE))
    quick.feed(end(8, 8 * len(PIECE)))
    slow_audio = slow.audio()
    assert await anext(slow_audio) == PIECE
    assert len(await heard(quick)) == 8
    await soon(lambda: not quick_node.credits.empty(), "the quick listener gave credit")
    await connection.nc.flush()
    await settled(slow_node.nc)
    assert slow_node.credits.empty(), "what was not taken is not credited"
    await slow_audio.aclose()


async def test_a_run_is_cancelled_once_and_only_if_it_goes_on(
    connection: Connection, subjects: Subjects, node: ScriptedNode
) -> None:
    over = run_on(connection, subjects, node)
    await heard(over, end(0, 0))
    await over.cancel()
    run = run_on(connection, subjects, node)
    await run.cancel()
    await run.cancel()
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == "r1"
    await connection.nc.flush()
    await settled(node.nc)
    assert node.cancels.empty()


async def test_without_a_connection_a_cancel_is_no_failure(nats_url: str, subjects: Subjects) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        run = run_on(connection, subjects, "n")
    assert connection.nc.is_closed
    with pytest.raises(nats.errors.ConnectionClosedError):
        await connection.nc.publish("x", b"")
    await run.cancel()
