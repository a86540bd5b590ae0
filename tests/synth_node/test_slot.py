"""A slot on the wire: streams event by event, one-shot membership."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from antiphon.events import MAX_CHUNK_BYTES, Accepted, AudioChunk, End, Failure, Progress, Segment
from antiphon.heartbeat import decode_heartbeat
from antiphon.subjects import SYNTH_QUEUE
from synth_node.node import SynthNode
from tests.conftest import NatsServer
from tests.synth_node.conftest import FAULTS, FILES, GUARD_S, RawCaller, StartNode, free
from tests.synth_node.support_slot import LongFile, audio_of


async def members(server: NatsServer, node: SynthNode) -> list[dict[str, Any]]:
    """Return the memberships of the node's slots in the queue group, as the server sees them."""
    await node.connection.nc.flush()
    url = f"{server.monitor_url}/connz?subs=detail&limit=1000"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=GUARD_S).read())
    subscriptions = [
        sub for each in json.loads(text)["connections"] for sub in each.get("subscriptions_list_detail", [])
    ]
    return [sub for sub in subscriptions if sub["subject"] == node.synth_subject]


# -- a stream, event by event


async def test_a_stream_is_accepted_then_audio_in_order_then_its_end(
    start: StartNode, raw: RawCaller, long_file: LongFile
) -> None:
    node = await start(engine=FILES)
    stream = await raw.stream(long_file.request, Tts_Window=str(2**30))
    events = await stream.until(End)
    assert events[0] == Accepted(node.id, 0, "m")
    chunks = [event for event in events if isinstance(event, AudioChunk)]
    assert [chunk.seq for chunk in chunks] == list(range(len(chunks)))
    assert max(len(chunk.audio) for chunk in chunks) <= MAX_CHUNK_BYTES
    end = events[-1]
    assert isinstance(end, End)
    assert (end.n_chunks, end.n_bytes) == (len(chunks), len(audio_of(events)))
    assert audio_of(events) == long_file.audio
    assert end.audio_ms > 0
    assert len(stream.runs) == 1
    assert all(type(event) in (Accepted, Segment, AudioChunk, Progress, End) for event in events)


async def test_the_run_is_made_by_the_node_and_new_each_time(start: StartNode, raw: RawCaller) -> None:
    node = await start()
    runs = set()
    for _ in range(3):
        await free(node)
        stream = await raw.stream(b"hello", Tts_Id="the same")
        await stream.until(End)
        runs |= stream.runs
    assert len(runs) == 3


@pytest.mark.parametrize(
    ("payload", "headers", "code", "param"),
    [
        (b'{"text": "a", "speed": 9}', {}, "invalid_request", "speed"),
        (b"{", {}, "invalid_request", None),
        (b"hello", {"Tts_Budget_Ms": "0"}, "deadline_exceeded", None),
        (b"hello", {"Tts_Window": "much"}, "invalid_request", None),
        (b"hello", {"Tts_Id": "x" * 200_000}, "invalid_request", None),
        (b"hello", {"Content_Type": "x" * 200_000}, "invalid_request", None),
        (b"x" * 51, {}, "text_too_long", "text"),
    ],
)
async def test_what_never_becomes_a_run_is_one_error(
    start: StartNode, raw: RawCaller, payload: bytes, headers: dict[str, str], code: str, param: str | None
) -> None:
    node = await start(max_text_characters=50)
    stream = await raw.stream(payload, **headers)
    failure = await stream.next()
    assert isinstance(failure, Failure)
    assert (failure.code, failure.param) == (code, param)
    assert len(failure.text) < 1000
    await free(node)
    assert stream.events.empty()
    assert (node.tally.synthesized, node.tally.failed) == (0, 0)


async def test_an_engines_failure_ends_the_stream(start: StartNode, raw: RawCaller) -> None:
    await start(engine=FAULTS)
    stream = await raw.stream(b"raise_later")
    events = await stream.until(Failure)
    failure = events[-1]
    assert isinstance(failure, Failure)
    assert failure.code == "engine_failed"
    assert isinstance(events[0], Accepted)


async def test_a_request_whose_budget_is_over_is_not_started(
    start: StartNode, raw: RawCaller, tmp_path: Path
) -> None:
    node = await start(engine=FAULTS)
    path = tmp_path / "pid"
    stream = await raw.stream(f"pid {path}".encode(), Tts_Budget_Ms="0")
    assert isinstance(await stream.next(), Failure)
    reply = await raw.ask_when_free(f"pid {path}".encode(), Tts_Budget_Ms="0")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] == "deadline_exceeded"
    await free(node)
    assert not path.exists()


async def test_a_silent_engine_is_covered_by_signs_of_life(start: StartNode, raw: RawCaller) -> None:
    await start(engine=FAULTS)
    stream = await raw.stream(b"hang")
    loop = asyncio.get_running_loop()
    assert isinstance(await stream.next(), Accepted)
    began = loop.time()
    for _ in range(3):
        assert isinstance(await stream.next(), Progress)
    assert loop.time() - began < 10 * 3 * 0.5


# -- membership


async def test_an_idle_slot_is_a_member_for_one_message(
    start: StartNode, raw: RawCaller, nats_server: NatsServer
) -> None:
    node = await start(engine=FAULTS, slots=3)
    idle_members = await members(nats_server, node)
    assert [(sub["qgroup"], sub["max"]) for sub in idle_members] == [(SYNTH_QUEUE, 1)] * 3
    stream = await raw.stream(b"stream 0.05")
    await stream.until(AudioChunk)
    assert len(await members(nats_server, node)) == 2
    await stream.cancel(node.id)
    await free(node)
    assert len(await members(nats_server, node)) == 3


async def test_an_idle_slot_joins_anew_and_loses_nothing(
    start: StartNode, raw: RawCaller, nats_server: NatsServer
) -> None:
    node = await start(rearm_s=0.01)
    for _ in range(20):
        reply = await raw.ask_when_free(b"hello")
        assert reply.data, "what was sent in the instant of leaving is served"
    assert {sub["max"] for sub in await members(nats_server, node)} <= {1}


async def test_a_freed_slot_wakes_one_caller_when_it_is_armed(start: StartNode, raw: RawCaller) -> None:
    node = await start(heartbeat_s=60)
    woken: asyncio.Queue[Msg] = asyncio.Queue()

    async def on_free(msg: Msg) -> None:
        woken.put_nowait(msg)

    await raw.nc.subscribe(raw.subjects.free("m"), cb=on_free)
    await raw.nc.flush()
    await raw.nc.flush()
    assert (await raw.ask(b"hello")).data
    await asyncio.wait_for(woken.get(), GUARD_S)
    assert (await raw.ask(b"hello")).data, "announced, so armed"
    await free(node)


async def test_a_node_with_an_idle_slot_announces_it_with_each_heartbeat(
    start: StartNode, raw: RawCaller
) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()

    async def on_message(msg: Msg) -> None:
        if msg.data:
            assert decode_heartbeat(msg.data).model == "m"
        seen.put_nowait("beat" if msg.data else "free")

    await start(heartbeat_s=0.15)
    await raw.nc.subscribe(raw.subjects.free("m"), cb=on_message)
    await raw.nc.subscribe(raw.subjects.heartbeat_all, cb=on_message)
    kinds = [await asyncio.wait_for(seen.get(), GUARD_S) for _ in range(8)]
    assert 3 <= kinds.count("free") <= 5
