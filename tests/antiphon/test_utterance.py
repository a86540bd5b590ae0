"""What other services call, against scripted nodes: speak and stream."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from antiphon.client import TtsClient
from antiphon.errors import (
    AllSlotsBusy,
    AttemptsExhausted,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    RunLost,
)
from antiphon.events import AudioChunk, End, Failure, Position, Segment
from antiphon.request import Resume, SpeechRequest, decode_request
from tests.antiphon.conftest import PATIENT, StartClient, dispatcher_of
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, soon


def stats(n: int, n_bytes: int) -> End:
    return End({"n": n, "bytes": n_bytes, "audio_ms": 1, "synthesis_ms": 1})


# -- speak and stream


async def test_what_is_asked_reaches_the_node(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    options = {"voice": "anna", "speed": 1.5, "format": "wav", "sample_rate": 16000}
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, **options))  # type: ignore[arg-type]
    msg = await node.request()
    assert decode_request(msg.data) == SpeechRequest("hello", "anna", 1.5, "wav", 16000)
    await node.finish(msg, await node.accept(msg), b"RIFF")
    assert await asyncio.wait_for(speaking, GUARD_S) == b"RIFF"


async def test_a_stream_yields_audio_while_it_is_made(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    async with aclosing(tts.stream("hello", model=MODEL)) as stream:
        first = asyncio.create_task(anext(stream))
        msg = await node.request()
        run = await node.accept(msg)
        await node.send(msg, run, AudioChunk(0, b"first"))
        assert await asyncio.wait_for(first, GUARD_S) == b"first"
        await node.send(msg, run, AudioChunk(1, b"second"), stats(2, 11))
        assert await asyncio.wait_for(anext(stream), GUARD_S) == b"second"
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    await settled(node.nc)
    assert node.cancels.empty()
    await soon(lambda: len(dispatcher_of(tts).inboxes) == 0, "no inbox token is left")


async def test_a_stream_that_is_left_early_is_cancelled(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    async with aclosing(tts.stream("hello", model=MODEL)) as stream:
        first = asyncio.create_task(anext(stream))
        msg = await node.request()
        run = await node.accept(msg)
        await node.send(msg, run, AudioChunk(0, b"first"))
        await asyncio.wait_for(first, GUARD_S)
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run
    await soon(lambda: len(dispatcher_of(tts).inboxes) == 0, "no inbox token is left")


async def test_a_task_that_is_cancelled_cancels_its_run(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"first"))
    await tts.connection.nc.flush()
    speaking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await speaking
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run
    await soon(lambda: len(dispatcher_of(tts).inboxes) == 0, "no inbox token is left")


async def test_a_run_that_is_lost_in_its_midst_is_begun_again(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"half a"), AudioChunk(2, b"with a gap"))
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run, "what is broken is not wanted"
    await node.arm(announce=True)
    again = await node.request()
    assert msg.headers is not None
    assert again.headers is not None
    assert "Tts-Attempt" not in msg.headers
    assert again.headers["Tts-Attempt"] == "2", "a run of it was lost"
    await node.finish(again, await node.accept(again), b"hello")
    assert await asyncio.wait_for(speaking, GUARD_S) == b"hello", "nothing of the lost run is in it"


async def test_a_stream_that_has_begun_breaks(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    async with aclosing(tts.stream("hello", model=MODEL)) as stream:
        first = asyncio.create_task(anext(stream))
        msg = await node.request()
        run = await node.accept(msg)
        await node.send(msg, run, AudioChunk(0, b"first"))
        await asyncio.wait_for(first, GUARD_S)
        await node.send(msg, run, AudioChunk(2, b"third"))
        with pytest.raises(RunLost):
            await anext(stream)
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run


async def test_an_utterance_knows_the_model_that_speaks(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    entering = tts.utterance(SpeechRequest("hello"), model=MODEL, hold_bytes=1000)
    begin = asyncio.create_task(entering.__aenter__())
    msg = await node.request()
    await node.finish(msg, await node.accept(msg, model="mapped"))
    assert (await asyncio.wait_for(begin, GUARD_S)).model == "mapped"
    await entering.__aexit__(None, None, None)


async def test_a_run_that_is_lost_goes_on_with_its_own_model_only(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    async with aclosing(tts.stream("One. Two.", model=MODEL, format="pcm", timeout_s=GUARD_S)) as stream:
        heard = asyncio.create_task(anext(stream))
        msg = await node.request()
        run = await node.accept(msg, model=MODEL)
        where = Position(1, 0.25, 1.0)
        await node.send(msg, run, Segment(0, 2, 0, 4), Segment(1, 2, 5, 4), AudioChunk(0, b"first", where))
        assert await asyncio.wait_for(heard, GUARD_S) == b"first"
        heard = asyncio.create_task(anext(stream))
        await node.send(msg, run, AudioChunk(2, b"with a gap"))
        assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run
        for model in ("other", "another"):  # a server that maps subjects gives it to whom it likes
            await node.arm(announce=True)
            wrong = await node.accept(await node.request(), model=model)
            assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == wrong
        await node.arm(announce=True)
        again = await node.request()
        assert decode_request(again.data).resume == Resume(5, 0.25)
        run = await node.accept(again, model=MODEL)
        await node.send(again, run, AudioChunk(0, b"second"), stats(1, 6))
        assert await asyncio.wait_for(heard, GUARD_S) == b"second"


async def test_what_is_handed_back_in_its_midst_goes_on_there(tts: TtsClient, node: ScriptedNode) -> None:
    speaking = asyncio.create_task(tts.speak("One. Two. Three.", model=MODEL, format="pcm"))
    for code, index, resume in (
        ("draining", 0, None),
        ("draining", 1, Resume(0, 0.25)),
        ("engine_crashed", 2, Resume(5, 0.25)),
        ("", 3, Resume(10, 0.25)),
    ):
        await node.arm(announce=True)
        msg = await node.request()
        assert decode_request(msg.data).resume == resume
        run = await node.accept(msg, model=MODEL)
        at = Position(index, 0.25, 1.0)
        await node.send(msg, run, Segment(index, 4, 5 * index, 4), AudioChunk(0, str(index).encode(), at))
        await node.send(msg, run, Failure(code, "no more for now") if code else stats(1, 1))
    assert await asyncio.wait_for(speaking, GUARD_S) == b"0123"


async def test_a_request_that_kills_engine_after_engine_is_given_up(
    tts: TtsClient, node: ScriptedNode
) -> None:
    speaking = asyncio.create_task(tts.speak("poison", model=MODEL))
    for _ in range(3):
        await node.arm(announce=True)
        msg = await node.request()
        await node.send(msg, await node.accept(msg), Failure("engine_crashed", "exit status 3"))
    with pytest.raises(AttemptsExhausted, match="exit status 3"):
        await asyncio.wait_for(speaking, GUARD_S)
    await node.arm(announce=True)
    await settled(node.nc)
    assert node.requests.empty()


async def test_slots_that_leave_in_the_midst_kill_no_request(tts: TtsClient, node: ScriptedNode) -> None:
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    for _ in range(5):
        await node.arm(announce=True)
        msg = await node.request()
        assert "Tts-Attempt" not in (msg.headers or {}), "none was lost"
        await node.send(msg, await node.accept(msg), Failure("draining", "the server is busy"))
    await node.arm(announce=True)
    msg = await node.request()
    await node.send(msg, await node.accept(msg), AudioChunk(0, b"hello"), stats(1, 5))
    assert await asyncio.wait_for(speaking, GUARD_S) == b"hello"


async def test_slots_that_give_nothing_do_not_prolong_the_wait(
    caller: StartClient, node: ScriptedNode
) -> None:
    async def refuse() -> None:
        while True:
            await asyncio.sleep(0.05)  # a pause of the engine, longer than what is left at least of the wait
            await node.arm(announce=True)
            msg = await node.request()
            await node.send(msg, await node.accept(msg), Failure("draining", "the server is busy"))

    tts = await caller(timing=replace(PATIENT, retry_s=0.01))
    await node.beat()
    refusing = asyncio.create_task(refuse())
    try:
        with pytest.raises(AllSlotsBusy):
            async with asyncio.timeout(GUARD_S), tts.utterance(SpeechRequest("x"), model=MODEL, wait_s=0.3):
                pass
    finally:
        refusing.cancel()


async def test_a_failure_that_another_node_would_repeat_is_final(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    await node.send(msg, await node.accept(msg), Failure("engine_failed", "no"))
    with pytest.raises(EngineFailed):
        await asyncio.wait_for(speaking, GUARD_S)
    await settled(node.nc)
    assert node.cancels.empty(), "the run is over"


async def test_the_budget_bounds_everything(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL, timeout_s=0.2))
    msg = await node.request()
    run = await node.accept(msg)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(speaking, GUARD_S)
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run


async def test_an_utterance_knows_its_node_and_its_end(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    serving = asyncio.create_task(node.answer())
    async with tts.utterance(SpeechRequest("hello"), model=MODEL, hold_bytes=1000) as utterance:
        assert utterance.end == stats(1, 5), "held until it was complete"
        assert (utterance.node, utterance.model) == (node.id, MODEL)
        assert [chunk async for chunk in utterance] == [b"hello"]
    await serving


async def test_more_than_is_to_be_held_is_streamed(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    entering = tts.utterance(SpeechRequest("hello"), model=MODEL, hold_bytes=8)
    begin = asyncio.create_task(entering.__aenter__())
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"five."), AudioChunk(1, b"five."))
    utterance = await asyncio.wait_for(begin, GUARD_S)
    assert utterance.end is None
    await node.send(msg, run, stats(2, 10))
    assert [chunk async for chunk in utterance] == [b"five.", b"five."]
    assert utterance.end == stats(2, 10)
    await entering.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"speed": 9.0}, "speed"),
        ({"format": "midi"}, "format"),
        ({"model": "a.*"}, "model"),
        ({"voice": ""}, "voice"),
    ],
)
async def test_a_request_that_is_none_never_leaves(
    tts: TtsClient, node: ScriptedNode, options: dict[str, object], param: str
) -> None:
    await node.arm()
    with pytest.raises(InvalidRequest) as refused:
        await tts.speak("hello", **{"model": MODEL, **options})  # type: ignore[arg-type]
    assert refused.value.param == param
    await settled(node.nc)
    assert node.requests.empty()
