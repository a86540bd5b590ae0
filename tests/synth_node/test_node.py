"""A node on the wire: plain requests, heartbeats, status, voices, cancels and draining."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path

import av
import msgpack
import nats
import nats.errors
import pytest
from nats.aio.msg import Msg

from antiphon.events import Accepted, AudioChunk, End, Failure, Progress
from antiphon.heartbeat import Heartbeat, decode_heartbeat, decode_voices
from synth_node.node import SynthNode
from tests.conftest import NatsServer
from tests.synth_node.conftest import (
    FAULTS,
    FILES,
    GUARD_S,
    RawCaller,
    StartNode,
    free,
    idle,
    running_node,
    settings_of,
    soon,
)


def duration_s(audio: bytes) -> float:
    with av.open(io.BytesIO(audio), "r") as container:
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))


async def heartbeats(raw: RawCaller) -> asyncio.Queue[Heartbeat]:
    """Return a queue of all heartbeats from now on."""
    heard: asyncio.Queue[Heartbeat] = asyncio.Queue()

    async def on_heartbeat(msg: Msg) -> None:
        heard.put_nowait(decode_heartbeat(msg.data))

    await raw.nc.subscribe(raw.subjects.heartbeat_all, cb=on_heartbeat)
    await raw.nc.flush()
    await raw.nc.flush()
    return heard


async def next_beat(heard: asyncio.Queue[Heartbeat], **wanted: object) -> Heartbeat:
    """Return the next heartbeat that has these values."""
    async with asyncio.timeout(GUARD_S):
        while True:
            beat = await heard.get()
            if all(getattr(beat, name) == value for name, value in wanted.items()):
                return beat


# -- plain requests


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (b"hello", {}),
        (b"hello", {"Content_Type": "text/plain; charset=utf-8"}),
        (json.dumps({"text": "hello"}).encode(), {}),
        (json.dumps({"text": "hello", "later": 1}).encode(), {"Content_Type": "application/json"}),
        (msgpack.packb({"text": "hello"}), {}),
        (msgpack.packb({"text": "hello"}), {"Content_Type": "application/msgpack"}),
    ],
)
async def test_a_plain_request_gets_the_whole_audio(
    start: StartNode, raw: RawCaller, payload: bytes, headers: dict[str, str]
) -> None:
    node = await start()
    reply = await raw.ask(payload, **headers)
    assert duration_s(reply.data) == pytest.approx(0.3, abs=0.06)
    assert reply.headers is not None
    assert reply.headers["Content-Type"] == "audio/mpeg"
    assert reply.headers["Tts-Node"] == node.id
    assert int(reply.headers["Tts-Audio-Ms"]) == pytest.approx(300, abs=50)
    assert int(reply.headers["Tts-Synthesis-Ms"]) >= 0
    assert reply.headers["Tts-Id"]


async def test_the_requests_own_headers_are_never_echoed(start: StartNode, raw: RawCaller) -> None:
    await start()
    secret = {"Authorization": "Bearer hunter2", "traceparent": "00-1-2-01", "X-Mine": "mine"}
    for payload in (b"hello", b'{"text": ""}'):
        reply = await raw.ask_when_free(payload, **secret, Tts_Id="mine-1")
        assert reply.headers is not None
        assert not set(reply.headers) & set(secret)
        assert "hunter2" not in str(reply.headers)
        assert reply.headers["Tts-Id"] == "mine-1"


@pytest.mark.parametrize(
    ("payload", "headers", "code", "number"),
    [
        (b'{"text": ""}', {}, "invalid_request", "400"),
        (b"\xff\xfe", {}, "invalid_request", "400"),
        (b"{", {}, "invalid_request", "400"),
        (b"\x81", {}, "invalid_request", "400"),
        (b"hello", {"Content_Type": "application/xml"}, "invalid_request", "400"),
        (b"hello", {"Content_Type": "x" * 5000}, "invalid_request", "400"),
        (b"hello", {"Tts_Budget_Ms": "soon"}, "invalid_request", "400"),
        (b"hello", {"Tts_Budget_Ms": "-1"}, "invalid_request", "400"),
        (b"hello", {"Tts_Attempt": "1.5"}, "invalid_request", "400"),
        (b"hello", {"Tts_Reply": "pigeon"}, "invalid_request", "400"),
        (b"hello", {"Tts_Budget_Ms": "0"}, "deadline_exceeded", "504"),
        (b'{"text": "a", "voice": "nobody"}', {}, "unknown_voice", "400"),
        (b'{"text": "a", "format": "opus", "sample_rate": 11025}', {}, "invalid_request", "400"),
        (b'{"text": "a", "sample_rate": 12345}', {}, "invalid_request", "400"),
        (b"x" * 51, {}, "text_too_long", None),
    ],
)
async def test_a_failure_is_told_in_headers_without_a_body(
    start: StartNode, raw: RawCaller, payload: bytes, headers: dict[str, str], code: str, number: str | None
) -> None:
    node = await start(max_text_characters=50)
    reply = await raw.ask(payload, **headers)
    assert reply.data == b""
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] == code
    assert reply.headers["Nats-Service-Error-Code"].isdigit()
    assert number in (None, reply.headers["Nats-Service-Error-Code"])
    assert 0 < len(reply.headers["Nats-Service-Error"]) <= 400
    assert duration_s((await raw.ask_when_free(b"hello")).data) > 0.2
    assert node.tally.synthesized == 1


@pytest.mark.parametrize(
    "tts_id",
    ["x" * 200_000, "é" * 500, "\x7f", "a b", "\t"],
    ids=["huge", "not ASCII", "control", "space", "blank"],
)
async def test_no_id_that_a_caller_sends_harms_the_node(
    start: StartNode, raw: RawCaller, tts_id: str
) -> None:
    node = await start()
    for payload in (b"hello", b'{"text": ""}'):
        await raw.ask_when_free(payload, Tts_Id=tts_id)
    assert node.connection.nc.is_connected
    assert (await raw.ask_when_free(b"hello", Tts_Id="fine")).data


async def test_a_request_that_names_no_reply_is_dropped(start: StartNode, raw: RawCaller) -> None:
    node = await start()
    for payload in (b"hello", b"{"):
        await raw.nc.publish(raw.subjects.synth("m"), payload)
    assert (await raw.ask_when_free(b"hello")).data
    assert (node.tally.synthesized, node.tally.failed) == (1, 0)


async def test_with_all_slots_at_work_there_are_no_responders(start: StartNode, raw: RawCaller) -> None:
    await start(engine=FAULTS, slots=2)
    streams = [await raw.stream(b"stream 0.05") for _ in range(2)]
    for stream in streams:
        assert isinstance(await stream.next(), Accepted)
    with pytest.raises(nats.errors.NoRespondersError):
        await raw.ask(b"fine")


async def test_a_reply_that_no_message_can_carry_is_refused_and_can_be_streamed(
    start: StartNode, raw: RawCaller, tmp_path: Path, mp3_second: bytes
) -> None:
    node = await start(engine=FILES)
    path = tmp_path / "long.mp3"
    path.write_bytes(mp3_second * (raw.nc.max_payload // len(mp3_second) + 1))
    reply = await raw.ask(str(path).encode())
    assert reply.headers is not None
    assert (reply.data, reply.headers["Tts-Error"]) == (b"", "audio_too_large")
    assert "Tts-Reply: stream" in reply.headers["Nats-Service-Error"]
    assert node.connection.nc.is_connected
    await free(node)
    stream = await raw.stream(str(path).encode(), Tts_Window=str(2**30))
    *_, end = await stream.until(End)
    assert isinstance(end, End)
    assert end.n_bytes == path.stat().st_size


async def test_the_longest_reply_leaves_the_connection_whole(
    start: StartNode, raw: RawCaller, tmp_path: Path, mp3_second: bytes
) -> None:
    node = await start(engine=FILES)
    path = tmp_path / "nearly.mp3"
    for room in (4096, 1200, 1024, 900, 300, 1):
        seconds, rest = divmod(raw.nc.max_payload - room, len(mp3_second))
        path.write_bytes(mp3_second * seconds + mp3_second[:rest])
        reply = await raw.ask_when_free(str(path).encode(), Tts_Id="i" * 100)
        assert reply.headers is not None
        assert reply.headers.get("Tts-Error", "audio_too_large") == "audio_too_large"
    assert node.connection.nc.is_connected


# -- what it tells


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


# -- what it is told


@pytest.mark.parametrize("junk", [b"", b"junk", b"\x80", b"\xc1", b"\x91" * 5000, b"\x81\xa3run\x05"])
async def test_junk_harms_nobody(start: StartNode, raw: RawCaller, junk: bytes) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"stream 0.02")
    await stream.until(AudioChunk)
    for subject in (raw.subjects.cancel(node.id), raw.subjects.credit(node.id), raw.subjects.status):
        await raw.nc.publish(subject, junk)
    unknown = {"run": "nobody", "bytes": 5}
    await raw.nc.publish(raw.subjects.cancel(node.id), msgpack.packb(unknown))
    await raw.nc.publish(raw.subjects.credit(node.id), msgpack.packb(unknown))
    await stream.until(AudioChunk)
    assert idle(node) == 0


@pytest.mark.parametrize("way", ["subject", "inbox"])
async def test_a_cancelled_run_frees_its_slot_and_says_nothing_more(
    start: StartNode, raw: RawCaller, way: str
) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"stream 0.02")
    await stream.until(AudioChunk)
    if way == "subject":
        await stream.cancel(node.id)
    else:
        await raw.nc.publish(stream.reply, b"anything")
    await free(node)
    await raw.nc.flush()
    while not stream.events.empty():
        assert isinstance(stream.events.get_nowait(), (AudioChunk, Progress))
    assert await no_traces(node)


async def test_a_caller_that_died_frees_its_slot(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"hang")
    assert isinstance(await stream.next(), Accepted)
    await stream.subscription.unsubscribe()
    # The next sign of life meets nobody, and the server says so.
    await free(node)
    assert await no_traces(node)


async def test_a_run_ends_with_its_budget(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"hang", Tts_Budget_Ms="150")
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "deadline_exceeded"
    reply = await raw.ask_when_free(b"hang", Tts_Budget_Ms="150")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] == "deadline_exceeded"
    await free(node)
    assert await no_traces(node)


async def test_without_a_budget_the_nodes_own_holds(start: StartNode, raw: RawCaller) -> None:
    await start(engine=FAULTS, budget_s=0.15)
    reply = await raw.ask(b"hang")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] == "deadline_exceeded"


# -- engines that fail


async def test_an_engine_that_crashes_fails_the_run_and_lives_again(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"exit 3")
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "engine_crashed"
    assert (await raw.ask_when_free(b"fine")).data
    assert idle(node) <= 1


async def test_a_plain_request_whose_engine_crashed_goes_to_the_group_again(
    start: StartNode, raw: RawCaller, tmp_path: Path
) -> None:
    await start(engine=FAULTS, slots=2)
    reply = await raw.ask(b"exit 3")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] in ("engine_crashed", "attempts_exhausted")
    assert reply.data == b""


async def test_an_engine_that_hangs_is_ended(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS, hang_s=0.2)
    stream = await raw.stream(b"hang")
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "engine_crashed"
    await free(node)


async def test_audio_has_a_bound(start: StartNode, raw: RawCaller) -> None:
    await start(engine=FAULTS, max_audio_s=3)
    stream = await raw.stream(b"stream 0")
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "audio_too_large"


# -- leaving


async def test_draining_finishes_what_runs_and_says_good_bye(
    start: StartNode, raw: RawCaller, nats_url: str
) -> None:
    heard = await heartbeats(raw)
    settings = settings_of(nats_url, raw.subjects, engine=FAULTS, slots=2)
    async with running_node(nats_url, settings) as node:
        stream = await raw.stream(b"sleep 0.4")
        assert isinstance(await stream.next(), Accepted)
    *_, end = await stream.until(End)
    assert isinstance(end, End)
    await next_beat(heard, state="draining")
    left = await next_beat(heard, state="left")
    assert (left.node, left.idle, left.busy) == (node.id, 0, 0)
    with pytest.raises(nats.errors.NoRespondersError):
        await raw.ask(b"fine")


async def test_the_grace_ends_a_run_that_does_not(start: StartNode, raw: RawCaller, nats_url: str) -> None:
    settings = settings_of(nats_url, raw.subjects, engine=FAULTS, grace_s=0.1)
    async with running_node(nats_url, settings):
        stream = await raw.stream(b"hang")
        assert isinstance(await stream.next(), Accepted)
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "draining", "the caller may try elsewhere"


async def test_its_slots_are_back_after_a_restart_of_the_server(
    own_nats_server: NatsServer, raw: RawCaller
) -> None:
    settings = settings_of(own_nats_server.url, raw.subjects, slots=2)
    async with running_node(own_nats_server.url, settings) as node:
        own_nats_server.stop()
        await soon(lambda: not node.connection.nc.is_connected, "the connection is lost")
        own_nats_server.start()
        await soon(lambda: node.connection.nc.is_connected, "it is back")
        nc = await nats.connect(own_nats_server.url)
        caller = RawCaller(nc, raw.subjects)
        for _ in range(3):
            assert (await caller.ask_when_free(b"hello")).data
        await free(node)
        await nc.close()


async def no_traces(node: SynthNode) -> bool:
    """Wait until no run and no inbox token is left."""
    await soon(lambda: not node.runs and len(node.inboxes) == 0, "no run is left")
    return True
