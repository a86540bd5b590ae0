"""Voice lists: asked once for all who want them, again after a change, never for ever."""

from __future__ import annotations

import asyncio
import logging

import msgpack
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon import voices
from antiphon.client import TtsClient
from antiphon.errors import NoNodes, NotConnected, SpeechError
from antiphon.heartbeat import VoiceList
from antiphon.run import Timing
from antiphon.subjects import Subjects
from tests.antiphon.conftest import StartClient, StartModel, StartNode, dispatcher_of, knows
from tests.antiphon.scripted_node import GUARD_S, settled, soon

QUICK = Timing(settle_s=0.2, status_s=0.05)


def ids(listed: VoiceList | None) -> list[str]:
    assert listed is not None
    return [voice.id for voice in listed.voices]


async def listed(tts: TtsClient, model: str) -> list[str]:
    return ids(await asyncio.wait_for(tts.voice_list(model), GUARD_S))


async def test_a_list_is_asked_for_once(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna")
    assert [await listed(tts, "a") for _ in range(3)] == [["anna"]] * 3
    assert ids((await tts.voice_lists())["a"]) == ["anna"]
    assert await tts.voices("a") == (await tts.voice_list("a")).voices
    assert made.n_asked == 1


async def test_callers_at_the_same_time_share_one_question(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna", tells=False)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(tts.voice_list("a", within_s=GUARD_S)) for _ in range(50)]
        await asyncio.sleep(0)
        await made.tell()
    assert [ids(each.result()) for each in asking] == [["anna"]] * 50
    assert made.n_asked == 1
    await soon(lambda: not tts._voices._asked, "nothing is asked any more")


async def test_a_caller_that_leaves_does_not_end_the_question(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna", tells=False)
    leaving, staying = (asyncio.create_task(tts.voice_list("a", within_s=GUARD_S)) for _ in range(2))
    await soon(lambda: bool(tts._voices._asked), "it is asked")
    leaving.cancel()
    await made.tell()
    assert ids(await asyncio.wait_for(staying, GUARD_S)) == ["anna"]
    assert leaving.cancelled()


async def test_another_hash_is_another_list(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna")
    assert await listed(tts, "a") == ["anna"]
    made.voices = ("bob",)
    await made.beat(tts, voices_hash="second")
    assert await listed(tts, "a") == ["bob"]
    made.voices = ("anna",)
    await made.beat(tts, voices_hash="first")
    assert await listed(tts, "a") == ["anna"], "only the last list is known"
    assert made.n_asked == 3


async def test_nodes_that_differ_are_asked_once_and_told_of(
    caller: StartClient, start_model: StartModel, scripted: StartNode, caplog: pytest.LogCaptureFixture
) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna")
    other = await scripted(beats=False)
    await knows(tts, other, model="a", voices_hash="other")
    with caplog.at_level(logging.WARNING, logger="antiphon.voices"):
        for _ in range(5):
            assert await listed(tts, "a") == ["anna"]
            await made.beat(tts)
            await knows(tts, other, model="a", voices_hash="other")
    assert made.n_asked == 1
    assert [record.getMessage() for record in caplog.records] == [
        "the nodes of model a list different voices"
    ]


async def test_while_no_node_lives_it_is_the_last_list(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna")
    await listed(tts, "a")
    await made.beat_left(tts)
    assert await listed(tts, "a") == ["anna"]
    assert list(await tts.voice_lists()) == ["a"]


async def test_a_failure_is_not_kept(caller: StartClient, start_model: StartModel, raw: Client) -> None:
    tts = await caller(timing=QUICK)
    made = await start_model(tts, "a", "anna", tells=False)

    async def on_voices(msg: Msg) -> None:
        await raw.publish(msg.reply, msgpack.packb({"voices": 5}))

    broken = await raw.subscribe(dispatcher_of(tts).subjects.voices("a"), queue="voices", cb=on_voices)
    await settled(raw)
    with pytest.raises(SpeechError, match="no voice list"):
        await tts.voices("a")
    await broken.unsubscribe()
    await settled(raw)
    await made.tell()
    assert await listed(tts, "a") == ["anna"]


async def test_a_model_that_does_not_answer_holds_up_no_other(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK, default_model="b")
    for name in ("a", "b"):
        await start_model(tts, name, "anna")
    await start_model(tts, "frozen", tells=False)
    lists = await asyncio.wait_for(tts.voice_lists(within_s=0.3), GUARD_S)
    assert list(lists) == ["b", "a", "frozen"], "the default one first"
    assert (ids(lists["a"]), ids(lists["b"]), lists["frozen"]) == (["anna"], ["anna"], None)
    with pytest.raises(NoNodes, match="no node of model frozen tells its voices"):
        await tts.voice_list("frozen", within_s=0.1)


async def test_no_list_at_all_is_a_failure(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    with pytest.raises(NoNodes, match="no node is alive"):
        await tts.voice_lists()
    await start_model(tts, "frozen", tells=False)
    with pytest.raises(NoNodes, match="tells its voices"):
        await tts.voice_lists(within_s=0.1)


async def test_lists_are_bounded(
    caller: StartClient, start_model: StartModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voices, "MAX_KEPT", 6)
    tts = await caller(timing=QUICK)
    used = await start_model(tts, "used", "anna")
    made = await start_model(tts, "a", "anna")
    for number in range(10):
        await made.beat(tts, voices_hash=f"{number}")
        await listed(tts, "a")
        await listed(tts, "used")
    assert set(tts._voices._known) == {"a", "used"}, "of each model one"
    for name in "bcd":
        await start_model(tts, name, "anna")
        await listed(tts, name)
        await listed(tts, "used")
    assert set(tts._voices._known) == {"c", "d", "used"}
    assert (used.n_asked, made.n_asked) == (1, 10), "what is used is not forgotten"


async def test_a_client_that_ends_ends_its_questions(
    nats_url: str, subjects: Subjects, scripted: StartNode
) -> None:
    from antiphon.client import connect

    node = await scripted(beats=False)
    await node.nc.subscribe(subjects.voices("a"), queue="voices", cb=node.requests.put)  # never answers
    await settled(node.nc)
    async with connect(nats_url, subjects=subjects, timing=QUICK) as tts:
        asking = asyncio.create_task(tts.voice_list("a", within_s=60))
        await node.request()
    with pytest.raises((NotConnected, NoNodes)):
        await asyncio.wait_for(asking, GUARD_S)
