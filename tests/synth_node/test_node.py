"""A node on the wire: what it is told, engines that fail, and draining."""

from __future__ import annotations

import msgpack
import nats
import nats.errors
import pytest

from antiphon.events import Accepted, AudioChunk, End, Failure
from tests.conftest import NatsServer
from tests.synth_node.conftest import (
    FAULTS,
    RawCaller,
    StartNode,
    free,
    idle,
    running_node,
    settings_of,
    soon,
)
from tests.synth_node.support_node import heartbeats, next_beat


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


# -- engines that fail


async def test_an_engine_that_crashes_fails_the_run_and_lives_again(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS)
    stream = await raw.stream(b"exit 3")
    *_, failure = await stream.until(Failure)
    assert isinstance(failure, Failure)
    assert failure.code == "engine_crashed"
    assert (await raw.ask_when_free(b"fine")).data
    assert idle(node) <= 1


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
