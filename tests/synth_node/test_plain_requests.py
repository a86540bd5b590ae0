"""Plain requests on the wire: one reply, or headers that say why there is none."""

from __future__ import annotations

import io
import json
from pathlib import Path

import av
import msgpack
import nats
import nats.errors
import pytest

from antiphon.events import Accepted, End
from tests.synth_node.conftest import FAULTS, FILES, RawCaller, StartNode, free


def duration_s(audio: bytes) -> float:
    with av.open(io.BytesIO(audio), "r") as container:
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))


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


async def test_a_plain_request_whose_engine_crashed_goes_to_the_group_again(
    start: StartNode, raw: RawCaller, tmp_path: Path
) -> None:
    await start(engine=FAULTS, slots=2)
    reply = await raw.ask(b"exit 3")
    assert reply.headers is not None
    assert reply.headers["Tts-Error"] in ("engine_crashed", "attempts_exhausted")
    assert reply.data == b""
