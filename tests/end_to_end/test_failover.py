"""Requests outlive the death of nodes, engines and the server, and their bounds hold."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from antiphon.client import connect
from antiphon.errors import (
    AllSlotsBusy,
    AttemptsExhausted,
    DeadlineExceeded,
    NoNodes,
    NotConnected,
    QueueFull,
)
from antiphon.request import SpeechRequest
from antiphon.ticket import Limits
from tests.conftest import GUARD_S, until
from tests.end_to_end.support_callers import STREAM, WHOLE, LibraryCaller, PlainCaller
from tests.end_to_end.support_engines import MODEL
from tests.end_to_end.support_group import Group, race_group
from tests.end_to_end.support_traffic import Traffic, begin, flood, whole

pytestmark = pytest.mark.asyncio(loop_scope="module")
FEW_S = 10.0
"""Guard on what takes two seconds at most."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_group() -> AsyncIterator[Group]:
    """Two nodes with two slots each, for all tests."""
    async with race_group(slots=2) as group:
        yield group


@pytest_asyncio.fixture(loop_scope="module")
async def group(whole_group: Group) -> AsyncIterator[Group]:
    """The group; after the test nothing may be left, every slot speaks, and what died is started again."""
    yield whole_group
    await whole_group.heal()
    await whole_group.serves()


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("pieces", [0, 1, 3])
async def test_a_held_answer_outlives_its_node_soon(group: Group, signum: int, pieces: int) -> None:
    group.caller_proxy.down.forget()
    (caller,) = await begin(group, 1)
    speaking = await group.engines.next(caller.text)
    await group.caller_proxy.down.until_passed(b"\xa8accepted")
    for _ in range(pieces):
        await group.caller_proxy.down.until_passed(speaking.piece())
    group.node_of(speaking).send_signal(signum)
    group.engines.let_end()
    struck_at = time.monotonic()
    answer = await caller.answer()
    assert time.monotonic() - struck_at < FEW_S
    assert answer.error == ""
    assert whole(group, answer)
    assert answer.audio != speaking.audio


async def test_a_poison_text_ends_after_three_runs(group: Group) -> None:
    group.caller_proxy.down.forget()
    with pytest.raises(AttemptsExhausted):
        await group.caller.speak("poison")
    assert group.caller_proxy.down.count(b"\xa8accepted") == 3
    await group.until_settled()


async def test_a_poison_text_ends_after_three_plain_attempts(group: Group) -> None:
    caller = PlainCaller(group, "poison")
    await caller.begin()
    assert (await caller.answer()).error == "engine_crashed"
    await group.until_settled()


async def test_a_call_that_cannot_be_interrupted_is_killed_when_its_caller_leaves(group: Group) -> None:
    caller = LibraryCaller(group, group.text("blocking"), STREAM)
    await caller.begin()
    speaking = await group.engines.next(caller.text)
    await caller.leave()
    await group.until_settled()
    assert speaking.gone.is_set()


async def test_all_nodes_die_and_come_back(group: Group) -> None:
    callers = await begin(group, 8)
    for caller in callers[:4]:
        await group.engines.next(caller.text)
    await until(lambda: group.caller.waiting() == 4, "four requests that wait")
    for node in group.nodes:
        await node.kill()
    group.engines.let_end()
    await group.restart_nodes()
    for caller in callers:
        answer = await caller.answer()
        assert answer.error == ""
        assert whole(group, answer)


@pytest.mark.parametrize("lame_duck", [False, True])
async def test_the_server_is_away_for_two_seconds(group: Group, *, lame_duck: bool) -> None:
    streams = await begin(group, 2, STREAM)
    callers = await begin(group, 6)
    for caller in (*streams, *callers[:2]):
        (await group.engines.next(caller.text)).piece()
    await until(lambda: group.caller.waiting() == 4, "four requests that wait")
    if lame_duck:  # it tells its clients to move on, and takes two seconds to end
        await group.restart_server(signal.SIGUSR2)
    else:
        await group.restart_server(away_s=2.0)
    group.engines.let_end()
    for caller in (*streams, *callers):
        answer = await caller.answer()
        assert answer.error == ""
        assert whole(group, answer)


async def test_a_run_outlives_a_caller_that_is_back_later_than_its_node(group: Group) -> None:
    (caller,) = await begin(group, 1, STREAM)
    speaking = await group.engines.next(caller.text)
    await group.caller_proxy.down.until_passed(speaking.piece())
    node = group.node_of(speaking)
    await group.stop_server()
    await group.start_server(but_for=group.caller_proxy)
    # The node is back and tells the caller, who is not there yet, that the run is alive.
    await node.proxy.up.until_passed(b"\xa8progress")
    await node.proxy.down.until_passed(b"NATS/1.0 503")
    await group.caller_proxy.listen()
    await group.caller.connection.established()
    speaking.end()
    answer = await caller.answer()
    assert answer.error == ""
    assert answer.audio == speaking.audio


async def test_breaking_connections_under_load_leaves_no_ghosts(group: Group) -> None:
    group.engines.let_end()
    traffic = Traffic(group, 6)
    for turn in range(12):
        await traffic.flows(10)
        group.nodes[turn % 2].proxy.cut()
    await traffic.flows(10)
    await traffic.end()
    await group.until_settled()


async def test_slots_that_become_free_without_a_connection_join_once(group: Group) -> None:
    for _ in range(8):
        speakings = await group.occupy()
        for node in group.nodes:
            node.proxy.refuse()
            node.proxy.cut()
            await node.proxy.until_cut()
        for speaking in speakings:
            speaking.end()
        for speaking in speakings:
            async with asyncio.timeout(GUARD_S):
                await speaking.gone.wait()
        group.engines.let_end()
        flooding = asyncio.create_task(flood(group, n_runs=8), name="flood")
        for node in group.nodes:
            await node.proxy.listen()
        await flooding
        await group.until_settled()
        await group.serves()  # a ghost of a slot would swallow one of these
        group.engines.all.clear()


async def test_forced_reconnects_of_the_caller_lose_nothing(group: Group) -> None:
    group.engines.let_end()
    traffic = Traffic(group, 6)
    for _ in range(6):
        await traffic.flows(10)
        await group.caller.connection.nc.force_reconnect()
    await traffic.flows(10)
    await traffic.end()


async def test_draining_under_load_fails_nothing(group: Group) -> None:
    leaving = group.nodes[0]
    held = await group.occupy()
    theirs = [speaking for speaking in held if group.node_of(speaking) is leaving]
    group.engines.let_end(but=theirs[0].text)
    traffic = Traffic(group, 6)
    await traffic.flows(20)
    leaving.send_signal(signal.SIGTERM)
    await traffic.flows(20)
    assert leaving.runs
    theirs[0].end()
    assert await leaving.process.wait() == 0
    await traffic.flows(20)
    await traffic.end()
    await group.until_settled()


async def test_a_request_on_its_way_to_a_slot_that_leaves_is_answered(group: Group) -> None:
    for node in group.nodes:
        node.proxy.down.hold()
    (caller,) = await begin(group, 1)
    request = f"{group.synth_subject} ".encode()
    await until(lambda: any(node.proxy.down.holds(request) for node in group.nodes), "a request held")
    leaving = next(node for node in group.nodes if node.proxy.down.holds(request))
    leaving.send_signal(signal.SIGTERM)
    await until(lambda: "draining" in leaving.process.log, "the node drains")
    group.engines.let_end()
    for node in group.nodes:
        node.proxy.down.release()
    answer = await caller.answer()
    assert answer.error == ""
    assert whole(group, answer)
    assert await leaving.process.wait() == 0


async def test_a_swallowed_wake_up_costs_a_moment_only(group: Group) -> None:
    await group.occupy()
    (caller,) = await begin(group, 1)
    await until(lambda: group.caller.waiting() == 1, "a request that waits")

    async def swallow(_: object) -> None:
        return

    others = [
        await group.plain.nc.subscribe(group.subjects.free(MODEL), queue="waiters", cb=swallow)
        for _ in range(9)
    ]
    await group.plain.nc.flush()
    group.engines.let_end(but=caller.text)
    speaking = await group.engines.next(caller.text)
    for other in others:
        await other.unsubscribe()
    speaking.end()
    assert (await caller.answer()).audio == speaking.audio


async def test_the_budget_ends_a_run(group: Group) -> None:
    caller = LibraryCaller(group, group.text(), WHOLE, budget_s=0.5)
    await caller.begin()
    speaking = await group.engines.next(caller.text)
    assert (await caller.answer()).error == DeadlineExceeded.code
    async with asyncio.timeout(GUARD_S):
        await speaking.gone.wait()


async def test_the_budget_ends_a_plain_request(group: Group) -> None:
    caller = PlainCaller(group, group.text(), budget_s=0.5)
    await caller.begin()
    assert (await caller.answer()).error == DeadlineExceeded.code


async def test_the_budget_ends_a_wait(group: Group) -> None:
    await group.occupy()
    caller = LibraryCaller(group, group.text(), WHOLE, budget_s=0.5)
    await caller.begin()
    assert (await caller.answer()).error == AllSlotsBusy.code
    assert not group.engines.of(caller.text)


async def test_the_wait_for_a_slot_is_bounded(group: Group) -> None:
    await group.occupy()
    with pytest.raises(AllSlotsBusy):
        async with group.caller.utterance(SpeechRequest(group.text()), wait_s=0.2, hold_bytes=1):
            pass


async def test_the_queue_is_bounded(group: Group) -> None:
    async with connect(
        group.server.url, subjects=group.subjects, default_model=MODEL, limits=Limits(max_waiting=2)
    ) as client:
        await group.occupy()
        waiting = [asyncio.create_task(client.speak(group.text()), name="caller") for _ in range(2)]
        await until(lambda: client.waiting() == 2, "two requests that wait")
        with pytest.raises(QueueFull):
            await client.speak(group.text())
        group.engines.let_end()
        assert all(await asyncio.gather(*waiting))


async def test_an_unknown_model_is_refused_at_once(group: Group) -> None:
    await until(lambda: group.caller.connection.connected_for_s > 2.0, "a settled connection")
    started_at = time.monotonic()
    with pytest.raises(NoNodes):
        await group.caller.speak("Hello", model="nobody")
    assert time.monotonic() - started_at < 1.0


async def test_a_caller_without_a_server_says_so(group: Group) -> None:
    await group.stop_server()
    with pytest.raises(NotConnected):
        await group.caller.speak(group.text(), timeout_s=0.3)
    await group.start_server()
    await group.caller.connection.established()
