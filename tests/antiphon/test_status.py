"""The status of the group, as nodes that are scripted tell it."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient
from antiphon.subjects import Subjects
from tests.antiphon.conftest import Speak, StartClient, knows
from tests.antiphon.scripted_node import MODEL, ScriptedNode, soon
from tests.antiphon.support_status import SHORT, answer_status


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
