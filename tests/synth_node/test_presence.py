"""What a node tells of itself: heartbeats, status, voices and its address."""

from __future__ import annotations

import asyncio

import nats
import nats.errors
import pytest
from nats.aio.msg import Msg

from antiphon.events import Accepted, AudioChunk
from antiphon.heartbeat import Heartbeat, decode_heartbeat, decode_voices
from synth_node import presence
from tests.synth_node.conftest import FAULTS, GUARD_S, RawCaller, StartNode, free
from tests.synth_node.support_node import heartbeats, next_beat


async def test_a_heartbeat_tells_how_it_is(start: StartNode, raw: RawCaller) -> None:
    heard = await heartbeats(raw)
    node = await start(engine=FAULTS, slots=2, node="Berta 1")
    beat = await next_beat(heard, idle=2)
    assert (beat.node, beat.name, beat.model, beat.state) == (node.id, "Berta 1", "m", "ready")
    assert (beat.slots, beat.busy, beat.running, beat.interval_s) == (2, 0, (), 0.5)
    assert beat.version
    stream = await raw.stream(b"stream 0.05")
    working = await next_beat(heard, busy=1)
    (run,) = working.running
    await stream.until(AudioChunk)
    assert stream.runs == {run.run}
    assert run.characters == len("stream 0.05")
    await stream.cancel(node.id)
    await next_beat(heard, busy=0, idle=2)
    await raw.ask_when_free(b"fine")
    done = await next_beat(heard, synthesized=1)
    assert done.seconds_per_character > 0
    assert done.real_time_factor > 0
    await raw.ask_when_free(b"raise no")
    failed = await next_beat(heard, failed=1)
    assert failed.synthesized == 1
    assert failed.seq > done.seq > working.seq > beat.seq


async def test_a_cancelled_run_is_neither_a_success_nor_a_failure(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"stream 0.02")
    await stream.until(AudioChunk)
    await stream.cancel(node.id)
    await free(node)
    assert (node.tally.synthesized, node.tally.failed) == (0, 0)


@pytest.mark.parametrize("deed", ["hang", "hang_in_c"])
async def test_no_engine_delays_a_heartbeat(start: StartNode, raw: RawCaller, deed: str) -> None:
    await start(engine=FAULTS, heartbeat_s=0.15)
    stream = await raw.stream(deed.encode())
    assert isinstance(await stream.next(), Accepted)
    heard = await heartbeats(raw)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(5):
        assert (await next_beat(heard)).busy == 1
    assert loop.time() - began < 10 * 5 * 0.15


async def test_who_has_heard_the_voices_has_heard_that_the_node_is_ready(
    start: StartNode, raw: RawCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "_BEAT_SPACING_S", 10 * GUARD_S)
    heard = await heartbeats(raw)
    await start()
    told = await raw.nc.request(raw.subjects.voices("m"), timeout=GUARD_S)
    assert decode_voices(told.data).voices
    beats = [heard.get_nowait() for _ in range(heard.qsize())]
    assert any(beat.state == "ready" and beat.voices_hash for beat in beats)


async def test_every_node_answers_a_status_request(start: StartNode, raw: RawCaller) -> None:
    ids = {(await start()).id, (await start(model="other")).id}
    replies: asyncio.Queue[Heartbeat] = asyncio.Queue()

    async def on_reply(msg: Msg) -> None:
        replies.put_nowait(decode_heartbeat(msg.data))

    inbox = raw.nc.new_inbox()
    await raw.nc.subscribe(inbox, cb=on_reply)
    await raw.nc.publish(raw.subjects.status, b"", reply=inbox)
    assert {(await asyncio.wait_for(replies.get(), GUARD_S)).node for _ in range(2)} == ids
    await raw.nc.publish(raw.subjects.status, b"")  # names no reply: nothing to do


async def test_one_node_answers_for_the_voices_of_its_model(start: StartNode, raw: RawCaller) -> None:
    await start()
    await start()
    reply = await raw.nc.request(raw.subjects.voices("m"), b"", timeout=GUARD_S)
    assert [voice.id for voice in decode_voices(reply.data).voices] == ["a4", "a3", "c5", "a5"]
    await raw.nc.publish(raw.subjects.voices("m"), b"")
    with pytest.raises(nats.errors.NoRespondersError):
        await raw.nc.request(raw.subjects.voices("other"), b"", timeout=GUARD_S)


async def test_two_nodes_with_one_name_have_two_addresses(start: StartNode) -> None:
    one, two = await start(node="same"), await start(node="same")
    assert one.id != two.id
    assert one.name == two.name == "same"


async def test_any_name_makes_an_address(start: StartNode, raw: RawCaller) -> None:
    node = await start(node="Bürö * > . Süd " + "x" * 200)
    assert raw.subjects.cancel(node.id)
    assert len(node.id) < 60
    assert (await raw.ask(b"hello")).data
