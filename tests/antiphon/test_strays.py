"""Messages on an inbox that nobody here wants."""

from __future__ import annotations

import asyncio

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient
from antiphon.events import AudioChunk, Failure, Progress, encode_event
from antiphon.feedback import decode_cancel
from tests.antiphon.conftest import dispatcher_of
from tests.antiphon.scripted_node import GUARD_S, MODEL, ScriptedNode, settled, text_of
from tests.antiphon.support_dispatch import within_guard


async def test_a_run_that_nobody_knows_is_cancelled_at_most_once_a_second(
    tts: TtsClient, node: ScriptedNode
) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    run = await node.accept(msg)
    for _ in range(5):
        await node.send(msg, "stranger", Progress(), AudioChunk(0, b"of another run"))
    await node.finish(msg, run)
    assert await within_guard(speaking) == b"hello"
    for _ in range(5):
        await node.send(msg, run, AudioChunk(1, b"more of a run that is over"))
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == "stranger"
    assert await asyncio.wait_for(node.cancels.get(), GUARD_S) == run
    await tts.connection.nc.flush()
    await settled(node.nc)
    assert node.cancels.empty()


async def test_what_comes_for_a_token_that_never_was_is_cancelled(
    tts: TtsClient, node: ScriptedNode, raw: Client
) -> None:
    cancelled: asyncio.Queue[Msg] = asyncio.Queue()
    inbox = raw.new_inbox()

    async def on_cancel(msg: Msg) -> None:
        cancelled.put_nowait(msg)

    await raw.subscribe(inbox, cb=on_cancel)
    subject = dispatcher_of(tts).inboxes.subject("nobody")
    for junk in (b"", b"junk", encode_event("over", Failure("internal", "no need to answer"))):
        await raw.publish(subject, junk, reply=inbox)
    await raw.publish(subject, encode_event("r", Progress()))  # names nobody to tell
    await raw.publish(subject, encode_event("r", Progress()), reply=inbox)
    msg = await asyncio.wait_for(cancelled.get(), GUARD_S)
    assert decode_cancel(msg.data).run == "r"
    assert cancelled.empty()


async def test_junk_on_an_inbox_harms_nobody(tts: TtsClient, node: ScriptedNode) -> None:
    await node.arm()
    speaking = asyncio.create_task(tts.speak("hello", model=MODEL))
    msg = await node.request()
    for junk in (b"", b"\xc1", b"\x91" * 5000, b"text", b"\x00" * 100):
        await node.nc.publish(msg.reply, junk)
    run = await node.accept(msg)
    for junk in (b"", b"\xc1", b"\x91" * 5000):
        await node.nc.publish(msg.reply, junk)
    await node.finish(msg, run)
    assert await within_guard(speaking) == b"hello"
    assert text_of(msg) == "hello"
