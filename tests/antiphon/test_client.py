"""What other services call: which model speaks, with what voices, and the connection's life."""

from __future__ import annotations

import asyncio
import time

import msgpack
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

import antiphon
from antiphon.client import connect
from antiphon.errors import NoNodes, NotConnected, SpeechError
from antiphon.heartbeat import Voice, encode_voices
from antiphon.run import Timing
from antiphon.subjects import Subjects
from tests.antiphon.conftest import Speak, StartClient, StartNode, dispatcher_of, knows, waiting_in
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, soon
from tests.antiphon.support_status import SHORT, answer_status
from tests.conftest import NatsServer


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
