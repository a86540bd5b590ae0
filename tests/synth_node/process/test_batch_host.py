"""Slots that share one engine process: how batches form, and that each caller gets its own audio."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from antiphon.background import background
from antiphon.errors import EngineFailed, UnknownVoice
from synth_node.host import EngineRequest, EngineUnavailable
from synth_node.process.batch_host import BatchEngine, BatchHost
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from tests.engines.batches import heard
from tests.synth_node.conftest import ENGINES, GUARD_S, Notes
from tests.synth_node.process.support_batches import BATCHES, listen, say, say_all, sharing

TEXTS = ["one", "two and more", "three", "4"]


# -- how batches form


@pytest.mark.parametrize("form", ["Whole", "Arrays", "AsyncWhole", "Streaming", "AsyncStreaming"])
async def test_every_form_gives_each_caller_its_own_audio(form: str) -> None:
    async with sharing(form, 4) as hosts:
        for _ in range(3):
            assert await say_all(hosts, *TEXTS) == TEXTS
        assert hosts[0].seconds_per_character > 0


async def test_a_batch_begins_at_once_when_all_slots_have_a_request(notes: Notes) -> None:
    async with sharing("Whole", 4) as hosts:
        for _ in range(3):
            assert await say_all(hosts, *TEXTS) == TEXTS
    assert [sorted(batch) for batch in notes.batches()] == [sorted(TEXTS)] * 3


async def test_a_batch_waits_for_more_no_longer_than_it_may(notes: Notes) -> None:
    async with sharing("Whole", 4, wait_s=0.05) as hosts:
        began = asyncio.get_running_loop().time()
        assert await say(hosts[0], "alone") == "alone"
        assert asyncio.get_running_loop().time() - began >= 0.05
    assert notes.batches() == [["alone"]]


async def test_a_batch_without_a_wait_begins_with_what_is_there(notes: Notes) -> None:
    async with sharing("Whole", 4, wait_s=0.0) as hosts:
        assert await say_all(hosts[:2], "one", "two") == ["one", "two"]
    assert sorted(text for batch in notes.batches() for text in batch) == ["one", "two"]


async def test_nobody_waits_for_a_slot_that_has_left(notes: Notes) -> None:
    async with sharing("Whole", 3) as hosts:
        members = [host.speak(EngineRequest("hello")) for host in hosts[:2]]
        await hosts[2].__aexit__(None, None, None)
        assert await asyncio.gather(*map(listen, hosts[:2], members)) == ["hello"] * 2
    assert notes.batches() == [["hello", "hello"]]


async def test_while_a_batch_runs_slots_leave_the_group_and_what_comes_is_in_the_next(
    notes: Notes, tmp_path: Path
) -> None:
    async with sharing("Whole", 3, wait_s=0.01) as hosts:
        idle = hosts[2]
        assert idle.is_ready
        unready = idle.unready()
        assert not unready.done()
        running = asyncio.create_task(say(hosts[0], f"wait {tmp_path / 'go'}"))
        await asyncio.wait({unready}, timeout=GUARD_S)
        assert unready.done()
        assert not any(host.is_ready for host in hosts)
        assert idle.unready().done(), "it must not join now"
        late = [host.speak(EngineRequest(f"late {n}")) for n, host in enumerate(hosts[1:])]
        ready = asyncio.create_task(hosts[0].ready())
        (tmp_path / "go").touch()
        await asyncio.wait_for(ready, GUARD_S)
        await running
        assert await asyncio.gather(*map(listen, hosts[1:], late)) == ["late 0", "late 1"]
    assert notes.batches()[1:] == [["late 0", "late 1"]]


async def test_one_that_may_be_deadly_is_in_no_batch_with_others(notes: Notes) -> None:
    async with sharing("Whole", 4) as hosts:
        work = [say(host, text, alone=text == "three") for host, text in zip(hosts, TEXTS, strict=True)]
        assert await asyncio.gather(*work) == TEXTS
    assert notes.batches() == [["one", "two and more", "4"], ["three"]]


# -- its start


@asynccontextmanager
async def engine_of(spec: str) -> AsyncIterator[BatchEngine]:
    engine = BatchEngine(spec, number=0, options=EngineOptions(), wait_s=0.01)
    async with asyncio.timeout(GUARD_S), background() as spawn:
        spawn(engine.run(), "engine process")
        yield engine


async def test_an_engine_that_does_not_start_is_told_to_every_slot_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synth_node.process.batch_host.START_AGAIN_S", 0.01)
    monkeypatch.setenv("BROKEN", str(tmp_path / "broken"))
    (tmp_path / "broken").touch()
    with capture_logs() as logs:
        async with engine_of(BATCHES + "Broken") as engine:
            hosts = [BatchHost(engine) for _ in range(3)]
            starts = (host.__aenter__() for host in hosts)
            told = await asyncio.gather(*starts, return_exceptions=True)
            assert all(isinstance(each, EngineUnavailable) and "no weights" in str(each) for each in told)
            (tmp_path / "broken").unlink()
            while True:
                with suppress(EngineUnavailable):  # the try that ran as the file went
                    await hosts[0].__aenter__()
                    break
            assert await say(hosts[0], "back") == "back"
    reasons = [entry["reason"] for entry in logs if entry["event"] == "engine does not start"]
    assert reasons
    assert all("no weights" in reason for reason in reasons)


@pytest.mark.parametrize("spec", ["tone", f"{ENGINES / 'forms.py'}:Full", f"{ENGINES / 'forms.py'}:pcm"])
async def test_an_engine_that_takes_one_at_a_time_says_so(spec: str) -> None:
    async with engine_of(spec) as engine:
        with pytest.raises(EngineUnavailable, match="has no synthesize_batch: SYNTH_PROCESSES must not be"):
            await BatchHost(engine).__aenter__()


async def test_one_slot_in_a_process_is_given_batches_of_one(notes: Notes) -> None:
    options = EngineOptions(idle_s=GUARD_S)
    for form, heard_of_it in (("Whole", "hello"), ("Streaming", "hello"), ("Arrays", "alone hello")):
        async with asyncio.timeout(GUARD_S), EngineHost(BATCHES + form, slot=0, options=options) as host:
            for text in ("hello", "hello"):
                utterance = host.speak(EngineRequest(text))
                pcm = b""
                while (piece := await utterance.next()) is not None:
                    pcm += piece
                assert heard(pcm) == heard_of_it
                host.leave(utterance)
    assert notes.batches() == [["hello"]] * 4
    async with asyncio.timeout(GUARD_S), EngineHost(BATCHES + "Streaming", slot=0, options=options) as host:
        utterance = host.speak(EngineRequest("endless"))
        assert await utterance.next()
        host.leave(utterance)
        await host.ready()
        with pytest.raises(UnknownVoice):
            async with EngineHost(BATCHES + "Whole", slot=0, options=options) as other:
                await other.speak(EngineRequest("hello", voice="dora")).next()


# -- the promise


@pytest.mark.parametrize("form", ["Whole", "Streaming", "AsyncStreaming"])
async def test_under_load_each_caller_hears_its_own_text(form: str, notes: Notes) -> None:
    """Texts of all sizes, some broken off, some failing, come whenever their slots like."""
    dice = random.Random(form)
    async with sharing(form, 8, wait_s=0.002) as hosts:

        async def speak_many(host: BatchHost, number: int) -> None:
            for n in range(25):
                text = f"{number} {n} " + "x" * dice.choice((0, 1, 20, 300))
                fate = dice.random()
                await asyncio.sleep(dice.choice((0, 0, 0.001, 0.004)))
                await host.ready()
                if fate < 0.1:
                    member = host.speak(EngineRequest(text))
                    if fate < 0.05:
                        await member.next()
                    host.leave(member)
                elif fate < 0.2:
                    with pytest.raises(EngineFailed, match=f"^ValueError: of {number} {n}$"):
                        await say(host, f"fail of {number} {n}")
                else:
                    assert await say(host, text) == text

        async with asyncio.TaskGroup() as tasks:
            for number, host in enumerate(hosts):
                tasks.create_task(speak_many(host, number))
    sizes = [len(batch) for batch in notes.batches()]
    assert max(sizes) > 2
    assert max(sizes) <= 8
