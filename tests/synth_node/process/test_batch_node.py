"""A node whose slots share engine processes, over real NATS."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import nats.errors
import pytest

import antiphon
from antiphon.client import TtsClient
from antiphon.errors import AttemptsExhausted, EngineFailed, SpeechError
from antiphon.events import Accepted, End, Failure
from antiphon.request import SpeechRequest
from antiphon.subjects import Subjects
from tests.conftest import NatsServer
from tests.engines.batches import heard
from tests.synth_node.conftest import (
    GUARD_S,
    Notes,
    RawCaller,
    StartNode,
    free,
    idle,
    running_node,
    settings_of,
    soon,
)
from tests.synth_node.process.support_batches import BATCHES
from tests.synth_node.test_slot import members

WHOLE = BATCHES + "Whole"
STREAMING = BATCHES + "Streaming"


@pytest.fixture
async def tts(nats_url: str, subjects: Subjects) -> AsyncIterator[TtsClient]:
    """A client of this test's nodes."""
    async with antiphon.connect(nats_url, subjects=subjects, default_model="m") as client:
        yield client


async def say(tts: TtsClient, text: str) -> str:
    """Speak a text; return what is heard."""
    return heard(await tts.speak(text, format="pcm", timeout_s=GUARD_S))


@pytest.mark.parametrize("engine", [WHOLE, STREAMING])
async def test_many_callers_of_one_process_each_hear_their_own_text(
    start: StartNode, tts: TtsClient, notes: Notes, engine: str
) -> None:
    dice = random.Random(engine)
    node = await start(engine=engine, slots=8, processes=1, segment_characters=0)
    texts = [f"{n} {'x' * dice.choice((1, 3, 40, 200))}" for n in range(80)]

    async def one(text: str) -> None:
        await asyncio.sleep(dice.random() / 5)
        assert await say(tts, text) == text

    async with asyncio.TaskGroup() as tasks:
        for text in texts:
            tasks.create_task(one(text))
    await free(node)
    batches = notes.batches()
    assert sorted(text for batch in batches for text in batch) == sorted(texts), "each is spoken once"
    assert 2 < max(map(len, batches)) <= 8
    assert (node.tally.synthesized, node.tally.failed) == (80, 0)


async def test_no_slot_of_a_process_is_in_the_group_while_its_batch_runs(
    start: StartNode, raw: RawCaller, nats_server: NatsServer, notes: Notes, tmp_path: Path
) -> None:
    node = await start(engine=WHOLE, slots=4, processes=1)
    assert len(await members(nats_server, node)) == 4
    running = asyncio.create_task(raw.ask(f"wait {tmp_path / 'go'}".encode()))
    await soon(lambda: bool(notes.batches()), "it runs")
    await soon(lambda: idle(node) == 0, "the idle slots have left")
    assert await members(nats_server, node) == []
    with pytest.raises(nats.errors.NoRespondersError):
        await raw.ask(b"late")
    beat = node.presence.heartbeat()
    assert (beat.slots, beat.idle, beat.busy) == (4, 0, 1)
    (tmp_path / "go").touch()
    assert (await asyncio.wait_for(running, GUARD_S)).data
    await free(node)
    assert {sub["max"] for sub in await members(nats_server, node)} == {1}
    assert len(await members(nats_server, node)) == 4


async def test_the_slots_of_other_processes_stay(
    start: StartNode, raw: RawCaller, tts: TtsClient, notes: Notes, tmp_path: Path
) -> None:
    node = await start(engine=WHOLE, slots=5, processes=2)
    running = asyncio.create_task(raw.ask(f"wait {tmp_path / 'go'}".encode()))
    await soon(lambda: bool(notes.batches()), "it runs")
    await soon(lambda: idle(node) in (2, 3), "the slots of one process have left")
    assert await say(tts, "hello") == "hello"
    assert not running.done()
    (tmp_path / "go").touch()
    assert (await asyncio.wait_for(running, GUARD_S)).data
    assert len({event["pid"] for event in notes.all() if "pid" in event}) == 2


async def test_one_request_is_spoken_within_the_wait(start: StartNode, tts: TtsClient) -> None:
    await start(engine=WHOLE, slots=8, processes=1, batch_wait_ms=50)
    assert await say(tts, "hello") == "hello"


async def test_a_failure_of_one_reaches_its_caller_only(start: StartNode, tts: TtsClient) -> None:
    node = await start(engine=WHOLE, slots=3, processes=1, batch_wait_ms=5000)
    texts = "one", "fail of mine", "three"
    one, failed, three = await asyncio.gather(*(say(tts, text) for text in texts), return_exceptions=True)
    assert [one, three] == ["one", "three"]
    assert isinstance(failed, EngineFailed)
    assert str(failed) == "ValueError: of mine"
    assert (node.tally.synthesized, node.tally.failed) == (2, 1)


async def test_a_text_that_kills_its_engine_costs_nobody_elses_request(
    start: StartNode, tts: TtsClient, notes: Notes
) -> None:
    """It goes first again after each crash, and so do the others: in one batch they would all be lost."""
    await start(engine=WHOLE, slots=8, processes=1, batch_wait_ms=5000)
    texts = [*(f"text {n}" for n in range(7)), "segfault"]
    *good, bad = await asyncio.gather(*(say(tts, text) for text in texts), return_exceptions=True)
    assert good == texts[:-1]
    assert isinstance(bad, AttemptsExhausted)
    assert sum("segfault" in batch for batch in notes.batches()) == 3
    assert sum(len(batch) > 1 for batch in notes.batches()) == 1


async def test_a_text_that_breaks_a_stream_costs_nobody_elses_request(
    start: StartNode, tts: TtsClient, notes: Notes
) -> None:
    await start(engine=STREAMING, slots=4, processes=1, batch_wait_ms=5000)
    texts = [*(f"text {n} is still being spoken" for n in range(3)), "raise mine"]
    *good, bad = await asyncio.gather(*(say(tts, text) for text in texts), return_exceptions=True)
    assert good == texts[:-1]
    assert isinstance(bad, EngineFailed)
    assert str(bad) == "ValueError: mine"
    assert sorted(map(len, notes.batches())) == [1, 1, 1, 1, 4]


async def test_a_plain_request_whose_engine_died_with_it_is_spoken_alone(
    start: StartNode, raw: RawCaller, notes: Notes
) -> None:
    await start(engine=WHOLE, slots=2, processes=1, batch_wait_ms=5000)
    replies = await asyncio.gather(
        raw.ask(b'{"text": "fine", "format": "pcm"}'), raw.ask(b'{"text": "segfault", "format": "pcm"}')
    )
    assert heard(replies[0].data) == "fine"
    assert replies[1].headers is not None
    assert replies[1].headers["Tts-Error"] == "engine_crashed"
    assert sum(len(batch) > 1 for batch in notes.batches()) == 1


async def test_cancels_reach_the_one_they_are_meant_for(
    start: StartNode, raw: RawCaller, tts: TtsClient, notes: Notes
) -> None:
    node = await start(engine=STREAMING, slots=3, processes=1, batch_wait_ms=5000)
    endless = [await raw.stream(f"endless {n}".encode()) for n in range(2)]
    assert await say(tts, "early") == "early"
    for n, stream in enumerate(endless):
        assert isinstance(await stream.next(), Accepted)
        assert not any("closed" in event for event in notes.all()), f"{n} have left"
        await stream.cancel(node.id)
    await notes.until(closed=3)
    await free(node)


async def test_a_request_at_fault_is_refused_and_the_batch_is_not(start: StartNode, tts: TtsClient) -> None:
    await start(engine=WHOLE, slots=2, processes=1, batch_wait_ms=5000)

    async def with_voice(voice: str) -> str:
        return heard(await tts.speak("hello", voice=voice, format="pcm", timeout_s=GUARD_S))

    bad, good = await asyncio.gather(with_voice("dora"), with_voice("alloy"), return_exceptions=True)
    assert isinstance(bad, SpeechError)
    assert bad.code == "unknown_voice"
    assert good == "hello"


async def test_a_node_that_drains_finishes_its_batch_and_waits_for_no_other(
    nats_url: str, subjects: Subjects, raw: RawCaller, notes: Notes, tmp_path: Path
) -> None:
    settings = settings_of(
        nats_url, subjects, engine=WHOLE, slots=4, processes=1, batch_wait_ms=10_000, grace_s=GUARD_S
    )
    async with running_node(nats_url, settings) as node:
        streams = [await raw.stream(b'{"text": "hello", "format": "pcm"}') for _ in range(2)]
        for stream in streams:
            assert isinstance(await stream.next(), Accepted)
        began = asyncio.get_running_loop().time()
    for stream in streams:
        assert isinstance((await stream.until(End))[-1], End)
    assert notes.batches() == [["hello", "hello"]]
    assert node.state == "left"
    assert asyncio.get_running_loop().time() - began < 10, "the slots that left are not waited for"


async def test_a_node_whose_grace_ends_says_so_to_all_of_the_batch(
    nats_url: str, subjects: Subjects, raw: RawCaller, notes: Notes
) -> None:
    settings = settings_of(nats_url, subjects, engine=WHOLE, slots=2, processes=1, grace_s=0.1)
    async with running_node(nats_url, settings):
        streams = [await raw.stream(b"hang") for _ in range(2)]
        await soon(lambda: notes.batches() == [["hang", "hang"]], "it runs")
    for stream in streams:
        failure = (await stream.until(Failure))[-1]
        assert isinstance(failure, Failure)
        assert failure.code == "draining"


async def test_a_long_text_is_spoken_in_batches_of_its_own_segments(
    start: StartNode, tts: TtsClient, notes: Notes
) -> None:
    text = " ".join(f"This is sentence number {n}, and it is not long." for n in range(40))
    await start(engine=BATCHES + "Slow", slots=8, processes=1, segment_characters=60)
    for _ in range(2):  # help is asked for once the engine is known to be slow
        pcm = b""
        async with tts.utterance(SpeechRequest(text, format="pcm"), timeout_s=GUARD_S) as utterance:
            async for chunk in utterance:
                pcm += chunk
        assert "".join(heard(pcm).split()) == "".join(text.split())
    assert max(map(len, notes.batches())) > 2
