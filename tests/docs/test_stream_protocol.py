"""A client that is not ours: written from docs/reference/messages.md and subjects.md alone.

It imports nothing of Antiphon and no NATS library, so it fails when the documents no longer suffice.
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgpack
import pytest

if TYPE_CHECKING:
    from tests.docs.conftest import BareNats, Message, Received

StartReady = Callable[..., Awaitable[Any]]
GUARD_S: Final = 30.0  # against hanging, far above what is expected
SENTENCE: Final = "one two three"
TONE_MS: Final = 60  # of audio per character, from the engine `tone`
LONG: Final = "la " * 1000
STREAM: Final = {"Tts-Reply": "stream"}


@pytest.fixture
def root(subjects: Any) -> str:
    """The root that the test's node has got instead of `tts`."""
    return str(subjects.root)


@pytest.fixture
def start_ready(bare: BareNats, root: str, start_node: Any) -> StartReady:
    """Start a node and return it when a heartbeat says that all of its slots are free."""

    async def start(**settings: Any) -> Any:
        heartbeats = bare.subscribe(f"{root}.heartbeat.*.*")
        await bare.flush()
        node = await start_node(**settings)
        async with asyncio.timeout(GUARD_S):
            while (beat := (await heartbeats.get()).value)["idle"] < beat["slots"]:
                pass
        return node

    return start


async def event(received: Received) -> tuple[Message, str, str, list[Any]]:
    """Return the next message of a stream, its run, its kind and its values."""
    message = await asyncio.wait_for(received.get(), GUARD_S)
    assert message.status == "", message
    run, kind, *values, later = message.value
    assert isinstance(run, str)
    assert isinstance(later, dict)
    return message, run, kind, values


async def accepted(received: Received) -> tuple[Message, str, str]:
    """Return the message, the run and the node of an `accepted`."""
    message, run, kind, (node, slot) = await event(received)
    assert (kind, slot) == ("accepted", 0)
    return message, run, node


async def events(received: Received, run: str) -> AsyncIterator[tuple[str, list[Any]]]:
    """Yield kind and values of a run's events, progress left out, until it is over."""
    while True:
        _, of, kind, values = await event(received)
        assert of == run
        if kind != "progress":
            yield kind, values
        if kind in ("end", "error"):
            return


def credit(bare: BareNats, root: str, node: str, run: str, n_bytes: int) -> None:
    """Acknowledge so many bytes of a run."""
    bare.publish(f"{root}.node.{node}.credit", msgpack.packb({"run": run, "bytes": n_bytes}))


async def claimed(
    bare: BareNats, subject: str, data: bytes, headers: dict[str, str] | None = None
) -> Message:
    """Send a plain request until a slot takes it: arm first, try second, wait third."""
    free = subject.replace(".synth.", ".free.")
    async with asyncio.timeout(GUARD_S):
        while True:
            wake_up = bare.subscribe(free, queue="waiters", limit=1)
            reply = await bare.request(subject, data, headers)
            if reply.status != "503":
                bare.unsubscribe(wake_up)  # a place that nobody looks at would swallow wake-ups
                return reply
            await wake_up.get()


async def status_within(bare: BareNats, subject: str, *, seconds: float) -> str | None:
    """Return the status of the first reply to an empty request, None if none has come in time."""
    received = bare.send(subject)
    try:
        return (await asyncio.wait_for(received.get(), seconds)).status
    except TimeoutError:
        return None


async def test_a_plain_request_gets_the_whole_audio(
    bare: BareNats, root: str, start_ready: StartReady
) -> None:
    await start_ready()
    forms: list[tuple[bytes, dict[str, str]]] = [
        (SENTENCE.encode(), {}),
        (json.dumps({"text": SENTENCE, "of a later version": 1}).encode(), {}),
        (msgpack.packb({"text": SENTENCE, "voice": None}), {}),
        (SENTENCE.encode(), {"Content-Type": "text/plain; charset=utf-8"}),
        (b" " + json.dumps({"text": SENTENCE}).encode(), {"Content-Type": "application/json"}),
        (msgpack.packb({"text": SENTENCE}), {"Content-Type": "application/msgpack"}),
    ]
    for data, headers in forms:
        reply = await claimed(bare, f"{root}.synth.tone", data, {"Tts-Id": "mine", **headers})
        assert reply.headers["Content-Type"] == "audio/mpeg", data
        assert reply.headers["Tts-Id"] == "mine"
        assert re.fullmatch(r"[A-Za-z0-9_-]+", reply.headers["Tts-Node"])
        assert reply.headers["Tts-Audio-Ms"] == str(len(SENTENCE) * TONE_MS)
        assert int(reply.headers["Tts-Synthesis-Ms"]) >= 0
        assert reply.data[:2] == b"\xff\xf3"  # the first frame of an mp3
    bare_reply = await claimed(bare, f"{root}.synth.tone", SENTENCE.encode())
    assert bare_reply.data == reply.data
    assert bare_reply.headers["Tts-Id"]


async def test_a_failure_is_told_in_headers(bare: BareNats, root: str, start_ready: StartReady) -> None:
    await start_ready()
    for data, code, number in [
        (b'{"text": "x", "speed": 9}', "invalid_request", "400"),
        (b'{"text": "x", "voice": "nobody"}', "unknown_voice", "400"),
        (b'{"text": "x", "format": "opus", "sample_rate": 11025}', "invalid_request", "400"),
        (b'{"text": "x", "input_type": "ssml"}', "invalid_request", "400"),
        (b'{"text": "\xf0\x9f\x98\x80"}', "nothing_to_speak", "400"),
        (b"{", "invalid_request", "400"),
        (b" ", "invalid_request", "400"),
        (b"\x81\xa4text", "invalid_request", "400"),
    ]:
        reply = await claimed(bare, f"{root}.synth.tone", data)
        assert reply.data == b""
        assert reply.headers["Tts-Error"] == code, data
        assert reply.headers["Nats-Service-Error-Code"] == number
        assert reply.headers["Nats-Service-Error"]


async def test_nobody_to_speak_is_told_at_once(bare: BareNats, root: str) -> None:
    reply = await bare.request(f"{root}.synth.tone", SENTENCE.encode())
    assert (reply.status, reply.data) == ("503", b"")


async def test_a_stream_is_whole(bare: BareNats, root: str, start_ready: StartReady) -> None:
    await start_ready()
    received = bare.send(f"{root}.synth.tone", SENTENCE.encode(), STREAM)
    message, run, _ = await accepted(received)
    assert message.reply
    audio: list[bytes] = []
    async for kind, values in events(received, run):
        if kind == "audio":
            assert values[0] == len(audio)
            assert 0 < len(values[1]) <= 131072
            audio.append(values[1])
    assert kind == "end"
    (stats,) = values
    assert (stats["n"], stats["bytes"]) == (len(audio), sum(map(len, audio)))
    assert stats["audio_ms"] == len(SENTENCE) * TONE_MS
    assert stats["synthesis_ms"] >= 0


async def test_a_refused_stream_gets_one_error(bare: BareNats, root: str, start_ready: StartReady) -> None:
    await start_ready()
    received = bare.send(f"{root}.synth.tone", b'{"text": "x", "speed": 9}', STREAM)
    message, _, kind, (code, text) = await event(received)
    assert (kind, code) == ("error", "invalid_request")
    assert text
    assert message.value[-1] == {"param": "speed"}


async def test_the_node_sends_no_more_than_the_window(
    bare: BareNats, root: str, start_ready: StartReady
) -> None:
    await start_ready()
    window = 200_000
    received = bare.send(f"{root}.synth.tone", LONG.encode(), {**STREAM, "Tts-Window": str(window)})
    _, run, node = await accepted(received)
    n_bytes = n_credited = n_stops = seq = 0
    while True:
        _, of, kind, values = await event(received)
        assert of == run
        if kind == "audio":
            assert values[0] == seq
            seq, n_bytes = seq + 1, n_bytes + len(values[1])
            assert n_bytes - n_credited <= window
        elif kind == "end":
            break
        elif n_bytes:  # nothing but progress for a while: the window is full
            n_stops += 1
        if n_stops and n_bytes > n_credited:
            credit(bare, root, node, run, n_bytes - n_credited)
            n_credited = n_bytes
    assert n_stops > 0
    assert values[0]["bytes"] == n_bytes > 2 * window
    assert values[0]["n"] == seq


@pytest.mark.parametrize("way", ["cancel subject", "reply subject", "connection lost"])
async def test_a_run_that_nobody_wants_frees_its_slot(
    bare: BareNats, root: str, start_ready: StartReady, nats_url: str, way: str
) -> None:
    from tests.docs.conftest import bare_connection

    # Little room for audio that waits: the engine has to wait for the caller, and the slot stays taken.
    await start_ready(buffer_bytes=1000)
    subject = f"{root}.synth.tone"
    async with bare_connection(nats_url) as other:
        received = other.send(subject, LONG.encode(), {**STREAM, "Tts-Window": "1000"})
        message, run, node = await accepted(received)
        assert (await bare.request(subject, SENTENCE.encode())).status == "503"
        if way == "connection lost":
            other.vanish()
        else:
            to = message.reply if way == "reply subject" else f"{root}.node.{node}.cancel"
            other.publish(to, msgpack.packb({"run": run}))
        assert (await claimed(bare, subject, SENTENCE.encode())).data


async def test_a_second_acceptance_is_cancelled(bare: BareNats, root: str, start_ready: StartReady) -> None:
    await start_ready(slots=2, buffer_bytes=1000)
    subject = f"{root}.synth.tone"
    headers = {**STREAM, "Tts-Id": "twice", "Tts-Window": "1000"}
    first = bare.send(subject, LONG.encode(), {**headers, "Tts-Attempt": "1"})
    second = bare.send(subject, LONG.encode(), {**headers, "Tts-Attempt": "2"})
    (_, run, kind, (node, slot)), (late, late_run, late_kind, (_, late_slot)) = [
        await event(received) for received in (first, second)
    ]
    assert kind == late_kind == "accepted"
    assert run != late_run
    assert {slot, late_slot} == {0, 1}
    bare.publish(late.reply, msgpack.packb({"run": late_run}))
    assert (await claimed(bare, subject, SENTENCE.encode())).data  # in the slot that the second one had
    credit(bare, root, node, run, 10**6)
    async for kind, values in events(first, run):
        if kind == "audio":
            credit(bare, root, node, run, len(values[1]))
    assert kind == "end"


async def test_a_ping_tells_a_dead_node_from_a_living_one(
    bare: BareNats, root: str, start_ready: StartReady
) -> None:
    process = await start_ready(buffer_bytes=1000)
    received = bare.send(f"{root}.synth.tone", LONG.encode(), {**STREAM, "Tts-Window": "1000"})
    _, _, node = await accepted(received)
    ping = f"$SRV.PING.synth_node.{node}"
    answer = json.loads((await bare.request(ping)).data)
    assert (answer["name"], answer["id"]) == ("synth_node", node)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    # The server learns it a moment later: until then it sends a ping to nobody.
    async with asyncio.timeout(GUARD_S):
        while await status_within(bare, ping, seconds=0.5) != "503":
            pass


async def test_a_node_tells_about_itself(bare: BareNats, root: str, start_ready: StartReady) -> None:
    await start_ready(slots=2, name="left")
    beat = (await bare.request(f"{root}.status")).value
    assert (beat["name"], beat["model"], beat["state"], beat["slots"]) == ("left", "tone", "ready", 2)
    voices = (await bare.request(f"{root}.voices.tone")).value
    assert voices["model"] == "tone"
    assert {"id": "a4", "name": "440 Hz", "language": ""} in voices["voices"]
    stats = json.loads((await bare.request("$SRV.STATS.synth_node." + beat["node"])).data)
    assert stats["metadata"] == {"name": "left", "model": "tone"}
    assert stats["endpoints"][0]["data"] == {"slots": 2, "idle": 2, "busy": 0}
