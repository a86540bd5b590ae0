"""What other services call, against scripted nodes: speak, stream, voices, status, resolve."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import msgpack
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import antiphon
from antiphon.client import TtsClient, connect
from antiphon.errors import (
    AttemptsExhausted,
    DeadlineExceeded,
    EngineFailed,
    InvalidRequest,
    NoNodes,
    NotConnected,
    RunLost,
    SpeechError,
)
from antiphon.events import AudioChunk, End, Failure, Position, Segment
from antiphon.heartbeat import Heartbeat, Voice, encode_heartbeat, encode_voices
from antiphon.request import Resume, SpeechRequest, decode_request
from antiphon.run import Timing
from antiphon.subjects import Subjects
from tests.antiphon.conftest import Speak, StartClient, StartNode, dispatcher_of, knows, waiting_in
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, soon
from tests.conftest import NatsServer

SHORT = Timing(settle_s=0.1, status_s=0.1)


def stats(n: int, n_bytes: int) -> End:
    return End({"n": n, "bytes": n_bytes, "audio_ms": 1, "synthesis_ms": 1})


async def answer_status(raw: Client, subjects: Subjects, *nodes: str, asked: list[Msg] | None = None) -> None:
    """Answer status requests for these nodes."""

    async def on_status(msg: Msg) -> None:
        if asked is not None:
            asked.append(msg)
        for name in nodes:
            beat = Heartbeat(name, name, 1.0, 1, MODEL, "ready", slots=2, idle=1, busy=1, interval_s=60.0)
            await raw.publish(msg.reply, encode_heartbeat(beat))

    await raw.subscribe(subjects.status, cb=on_status)
    await settled(raw)


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


# -- which model


async def test_a_model_is_the_one_that_is_asked_for(caller: StartClient) -> None:
    tts = await caller(default_model="usual")
    assert await tts.resolve("special") == "special"
    assert await tts.resolve(None) == "usual"


async def test_without_any_node_there_is_no_model_once_that_is_certain(caller: StartClient) -> None:
    tts = await caller(timing=SHORT)
    with pytest.raises(NoNodes):
        await asyncio.wait_for(tts.resolve(None), GUARD_S)
    assert tts.connection.connected_for_s >= SHORT.settle_s


async def test_a_client_that_has_just_come_waits_for_the_nodes_to_tell(
    caller: StartClient, raw: Client, subjects: Subjects
) -> None:
    await answer_status(raw, subjects, "n1")
    tts = await caller(timing=Timing(status_s=0.05, settle_s=60.0))
    resolving = asyncio.create_task(tts.resolve(None))
    await soon(tts.can_speak, "the node has told")
    assert await asyncio.wait_for(resolving, GUARD_S) == MODEL
    assert dispatcher_of(tts).settled.is_set(), "others had the time to tell too"


async def test_a_client_that_has_just_come_waits_for_a_node_that_comes_too(
    caller: StartClient, scripted: StartNode
) -> None:
    tts = await caller(timing=Timing(status_s=0.05, settle_s=60.0))
    resolving = asyncio.create_task(tts.resolve(None))
    await soon(dispatcher_of(tts).settled.is_set, "nobody answered")
    await tts.connection.nc.flush()
    await scripted()
    assert await asyncio.wait_for(resolving, GUARD_S) == MODEL


async def test_a_client_that_has_just_come_asks_before_it_denies_a_model(
    caller: StartClient, raw: Client, subjects: Subjects
) -> None:
    await answer_status(raw, subjects, "n1")
    tts = await caller(timing=Timing(status_s=0.05, settle_s=60.0))
    assert await asyncio.wait_for(tts.knows(MODEL), GUARD_S)
    assert not await asyncio.wait_for(tts.knows("no model at all!"), GUARD_S)


# -- voices and status


async def test_voices_are_those_of_a_node(caller: StartClient, raw: Client, subjects: Subjects) -> None:
    voices = (Voice("anna", "Anna", "de"), Voice("bob"))

    async def on_voices(msg: Msg) -> None:
        await raw.publish(msg.reply, encode_voices(MODEL, voices, {"alloy": "anna"}))

    await raw.subscribe(subjects.voices(MODEL), queue="voices", cb=on_voices)
    await settled(raw)
    tts = await caller()
    assert await tts.voices(MODEL) == voices
    assert (await tts.voice_list(MODEL)).aliases == {"alloy": "anna"}


async def test_voices_are_asked_for_again_while_a_node_may_still_come(
    caller: StartClient, raw: Client, subjects: Subjects
) -> None:
    await answer_status(raw, subjects, "n1")
    tts = await caller()
    asked: asyncio.Queue[Msg] = asyncio.Queue()
    frozen = await raw.subscribe(subjects.voices(MODEL), queue="voices", cb=asked.put)
    await settled(raw)
    listing = asyncio.create_task(tts.voice_list(MODEL, within_s=GUARD_S))
    await asyncio.wait_for(asked.get(), GUARD_S)  # and it never answers
    await frozen.unsubscribe()

    async def on_voices(msg: Msg) -> None:
        await raw.publish(msg.reply, encode_voices(MODEL, (Voice("anna"),)))

    await raw.subscribe(subjects.voices(MODEL), queue="voices", cb=on_voices)
    assert (await asyncio.wait_for(listing, GUARD_S)).voices == (Voice("anna"),)


async def test_voices_of_a_model_without_a_node_are_refused(caller: StartClient) -> None:
    tts = await caller()
    with pytest.raises(NoNodes):
        await tts.voices("nobody")


async def test_a_voice_list_that_is_none_is_a_failure(
    caller: StartClient, raw: Client, subjects: Subjects
) -> None:
    async def on_voices(msg: Msg) -> None:
        await raw.publish(msg.reply, msgpack.packb({"voices": 5}))

    await raw.subscribe(subjects.voices(MODEL), cb=on_voices)
    await settled(raw)
    tts = await caller()
    with pytest.raises(SpeechError, match="no voice list"):
        await tts.voices(MODEL)


async def test_status_asks_every_node(caller: StartClient, raw: Client, subjects: Subjects) -> None:
    await answer_status(raw, subjects, "n1", "n2")
    tts = await caller()
    status = await tts.status()
    assert (status.status, status.nodes, status.slots, status.busy, status.waiting) == (True, 2, 4, 2, 0)
    assert [worker["state"] for worker in status.workers] == ["ready", "ready"]


async def test_a_node_that_does_not_answer_is_silent(
    caller: StartClient, node: ScriptedNode, raw: Client, subjects: Subjects
) -> None:
    await answer_status(raw, subjects, "n1")
    tts = await caller(timing=SHORT)
    await knows(tts, node)
    status = await tts.status()
    assert {worker["node"]: worker["state"] for worker in status.workers} == {
        "n1": "ready",
        node.id: "silent",
    }
    assert (status.nodes, status.slots) == (2, 3)
    assert status.models[MODEL]["status"] is True


async def test_callers_at_the_same_time_share_a_round(
    caller: StartClient, node: ScriptedNode, raw: Client, subjects: Subjects
) -> None:
    asked: list[Msg] = []
    tts = await caller(timing=SHORT)
    await knows(tts, node)
    await tts.status()
    await answer_status(raw, subjects, "n1", asked=asked)
    statuses = await asyncio.gather(*(tts.status() for _ in range(20)))
    assert len(asked) == 1
    assert len({status.nodes for status in statuses}) == 1
    await tts.status()
    assert len(asked) == 2


async def test_junk_among_the_replies_harms_nobody(
    caller: StartClient, raw: Client, subjects: Subjects
) -> None:
    async def on_status(msg: Msg) -> None:
        for junk in (b"", b"junk", b"\xc1", b"\x91" * 5000):
            await raw.publish(msg.reply, junk)

    await raw.subscribe(subjects.status, cb=on_status)
    await answer_status(raw, subjects, "n1")
    for subject in (subjects.heartbeat(MODEL, "x"), subjects.waiting(MODEL, "x")):
        await raw.publish(subject, b"junk")
    tts = await caller(timing=SHORT)
    assert (await tts.status()).nodes == 1


async def test_a_node_that_pauses_is_none_that_can_speak(tts: TtsClient, node: ScriptedNode) -> None:
    await node.beat()
    await soon(tts.can_speak, "the node has told")
    await node.beat(idle=0, paused="the key is wrong")
    await soon(lambda: not tts.can_speak(), "it pauses")
    await node.beat()
    await soon(tts.can_speak, "it speaks again")


async def test_status_counts_what_waits_here(tts: TtsClient, node: ScriptedNode, speak: Speak) -> None:
    await speak(tts, "one", "two")
    status = await tts.status()
    assert (status.waiting, status.models[MODEL]["waiting"], tts.waiting()) == (2, 2, 2)


# -- the connection


async def test_nobody_to_connect_to_is_told_in_time_and_without_credentials() -> None:
    began = time.monotonic()
    with pytest.raises(NotConnected, match=r"nats://127\.0\.0\.1:1") as refused:
        async with connect("nats://user:hunter2@127.0.0.1:1", within_s=0.3):
            raise AssertionError("connected to nobody")
    assert time.monotonic() - began < GUARD_S
    assert "hunter2" not in str(refused.value)
    assert "user" not in str(refused.value)


async def test_a_client_survives_a_restart_of_the_server(
    own_nats_server: NatsServer, subjects: Subjects, scripted: StartNode, speak: Speak
) -> None:
    async with connect(own_nats_server.url, subjects=subjects, reconnect_wait_s=0.02) as tts:
        own_nats_server.stop()
        await soon(lambda: not tts.connection.nc.is_connected, "the connection is lost")
        assert not tts.can_speak()
        with pytest.raises(NotConnected):
            await tts.status()
        with pytest.raises(NotConnected):
            await tts.speak("hello", model=MODEL, timeout_s=0.1)
        (speaking,) = await speak(tts, "hello")
        own_nats_server.start()
        await soon(lambda: tts.connection.nc.is_connected, "it is back")
        import nats

        nc = await nats.connect(own_nats_server.url)
        node = ScriptedNode(nc, subjects)
        await node.listen()
        assert await node.serve() == "hello"
        assert await asyncio.wait_for(speaking, GUARD_S) == b"hello"
        assert waiting_in(tts) == 0
        await nc.close()


async def test_a_failure_in_the_block_comes_out_as_it_is(nats_url: str, subjects: Subjects) -> None:
    with pytest.raises(KeyError):
        async with connect(nats_url, subjects=subjects):
            raise KeyError("of the caller")


async def test_leaving_in_the_midst_of_everything_leaves_no_task(
    nats_url: str, subjects: Subjects, node: ScriptedNode
) -> None:
    before = asyncio.all_tasks()
    async with connect(nats_url, subjects=subjects) as tts:
        await knows(tts, node)
        speaking = [asyncio.create_task(tts.speak(f"{i}", model=MODEL)) for i in range(3)]
        await soon(lambda: waiting_in(tts) == 3, "all wait")
        for task in speaking:
            task.cancel()
    await asyncio.wait(speaking)
    await soon(lambda: asyncio.all_tasks() <= before, "no task is left")


def test_the_package_names_what_is_for_others() -> None:
    assert set(antiphon.__all__) <= set(dir(antiphon))
    assert antiphon.connect is connect
