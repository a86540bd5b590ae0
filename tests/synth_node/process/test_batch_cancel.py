"""One who leaves a batch ends nothing for the others; the last one does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from synth_node.host import EngineRequest
from tests.synth_node.conftest import GUARD_S, Notes, soon
from tests.synth_node.process.support_batches import listen, say, say_all, sharing

TEXTS = ["one", "two and more", "three", "4"]


# -- cancels


async def test_one_that_leaves_before_the_batch_is_not_in_it(notes: Notes) -> None:
    async with sharing("Whole", 3) as hosts:
        left = hosts[0].speak(EngineRequest("gone"))
        stayed = hosts[1].speak(EngineRequest("here"))
        hosts[0].leave(left)
        assert hosts[0].is_ready
        again = hosts[0].speak(EngineRequest("back"))
        third = hosts[2].speak(EngineRequest("third"))
        work = map(listen, [hosts[1], hosts[0], hosts[2]], [stayed, again, third])
        assert await asyncio.gather(*work) == ["here", "back", "third"]
    assert notes.batches() == [["here", "back", "third"]]


@pytest.mark.parametrize("form", ["Streaming", "AsyncStreaming"])
async def test_one_that_leaves_does_not_end_a_stream_but_the_last_one_does(form: str, notes: Notes) -> None:
    async with sharing(form, 3) as hosts:
        endless = [host.speak(EngineRequest(f"endless {n}")) for n, host in enumerate(hosts[:2])]
        early = asyncio.create_task(say(hosts[2], "early"))
        assert await asyncio.wait_for(early, GUARD_S) == "early", "it has ended, and the batch goes on"
        assert not hosts[2].is_ready
        assert await endless[0].next()
        hosts[0].leave(endless[0])
        for _ in range(20):
            assert await endless[1].next()
        assert not any("closed" in event for event in notes.all())
        hosts[1].leave(endless[1])
        await asyncio.wait_for(hosts[1].ready(), GUARD_S)
        await notes.until(closed=3)
        assert await say_all(hosts, *TEXTS[:3]) == TEXTS[:3]


async def test_a_batch_that_waits_without_blocking_is_cancelled_at_once(notes: Notes) -> None:
    async with sharing("Endless", 2, start_s=GUARD_S) as hosts:
        members = [host.speak(EngineRequest("hello")) for host in hosts]
        for host, member in zip(hosts, members, strict=True):
            assert await member.next()
            host.leave(member)
        await asyncio.wait_for(hosts[0].ready(), GUARD_S)
        await notes.until(closed=2)


@pytest.mark.parametrize("form", ["Streaming", "AsyncStreaming"])
async def test_a_stream_ends_for_one_who_has_left_when_the_others_have_ended(form: str, notes: Notes) -> None:
    async with sharing(form, 2) as hosts:
        for text in ("early", "early " + "x" * 500):
            endless = hosts[0].speak(EngineRequest("endless"))
            other = hosts[1].speak(EngineRequest(text))
            assert await endless.next()
            hosts[0].leave(endless)
            assert await asyncio.wait_for(listen(hosts[1], other), GUARD_S) == text
            await asyncio.wait_for(hosts[1].ready(), GUARD_S)
        await notes.until(closed=2)
        assert await say_all(hosts, "a", "b") == ["a", "b"]
    assert len({event["pid"] for event in notes.all() if "pid" in event}) <= 1, "nothing was killed"


async def test_a_silent_batch_is_cancelled_when_the_last_one_who_wants_it_has_ended(notes: Notes) -> None:
    async with sharing("Endless", 2) as hosts:
        left, stays = (
            host.speak(EngineRequest(text)) for host, text in zip(hosts, ["a", "end"], strict=True)
        )
        assert await left.next()
        hosts[0].leave(left)
        assert await asyncio.wait_for(listen(hosts[1], stays), GUARD_S) == "end"
        await asyncio.wait_for(hosts[1].ready(), GUARD_S)
        await notes.until(closed=2)


async def test_a_call_that_blocks_goes_on_for_who_has_stayed(notes: Notes, tmp_path: Path) -> None:
    async with sharing("Whole", 2) as hosts:
        left = hosts[0].speak(EngineRequest("gone"))
        stays = asyncio.create_task(say(hosts[1], f"wait {tmp_path / 'go'}"))
        await notes.until(texts=["gone", f"wait {tmp_path / 'go'}"])
        hosts[0].leave(left)
        (tmp_path / "go").touch()
        assert await asyncio.wait_for(stays, GUARD_S) == f"wait {tmp_path / 'go'}"
        assert await say_all(hosts, "a", "b") == ["a", "b"]
    assert len({event["pid"] for event in notes.all() if "pid" in event}) == 1, "nothing was killed"


async def test_a_call_that_blocks_for_nobody_is_killed(notes: Notes) -> None:
    async with sharing("Whole", 2) as hosts:
        members = [host.speak(EngineRequest("hang")) for host in hosts]
        await notes.until(texts=["hang", "hang"])
        for host, member in zip(hosts, members, strict=True):
            host.leave(member)
        assert await say_all(hosts, "a", "b") == ["a", "b"]
    assert len({event["pid"] for event in notes.all() if "pid" in event}) == 2


async def test_what_was_left_and_has_ended_does_not_kill_the_next_batch(notes: Notes, tmp_path: Path) -> None:
    patience_s = 1.0  # as long as a restart would take
    async with sharing("Whole", 4, warm_up=f"sleep {patience_s}") as hosts:
        members = [host.speak(EngineRequest(f"wait {tmp_path / 'first'}")) for host in hosts]
        await soon(lambda: len(notes.batches()) == 2, "it runs")
        for host, member in zip(hosts, members, strict=True):
            host.leave(member)
        left_at = asyncio.get_running_loop().time()
        (tmp_path / "first").touch()
        text = f"wait {tmp_path / 'second'}"
        said = asyncio.create_task(say_all(hosts, *[text] * 4))
        await soon(lambda: len(notes.batches()) == 3, "the next one runs")
        await asyncio.sleep(left_at + 2 * patience_s - asyncio.get_running_loop().time())
        (tmp_path / "second").touch()
        assert await said == [text] * 4
    assert len({event["pid"] for event in notes.all() if "pid" in event}) == 1, "nothing was killed"
