"""Callers that are slow to take a stream: the window, the room behind it, and what becomes of the slot."""

from __future__ import annotations

from pathlib import Path

import nats
import pytest

from antiphon.events import MAX_CHUNK_BYTES, AudioChunk, End, Progress
from synth_node.node import SynthNode
from tests.conftest import NatsServer
from tests.synth_node.conftest import (
    FILES,
    RawCaller,
    RawStream,
    StartNode,
    free,
    idle,
    running_node,
    settings_of,
    soon,
)
from tests.synth_node.support_slot import MIB, LongFile, audio_of

WINDOW = 3 * MAX_CHUNK_BYTES


@pytest.fixture
def longer_file(tmp_path: Path, long_file: LongFile) -> LongFile:
    """An mp3 of 8 MiB."""
    path = tmp_path / "longer.mp3"
    path.write_bytes(4 * long_file.audio)
    return LongFile(str(path).encode(), 4 * long_file.audio)


# -- flow control


async def take(stream: RawStream, raw: RawCaller) -> bytes:
    """Return the audio that comes without any credit."""
    audio = b""
    while True:
        event = await stream.next()
        if isinstance(event, Progress):  # no audio for a while: the node waits
            return audio
        if isinstance(event, AudioChunk):
            audio += event.audio


async def rest(stream: RawStream, node: SynthNode) -> bytes:
    """Return the audio that comes if what was taken is granted anew, up to the end."""
    await stream.credit(node.id, WINDOW)
    audio = b""
    while not isinstance(event := await stream.next(), End):
        if isinstance(event, AudioChunk):
            audio += event.audio
            await stream.credit(node.id, len(event.audio))
    return audio


async def test_no_more_than_the_window_is_ever_unacknowledged(
    start: StartNode, raw: RawCaller, long_file: LongFile
) -> None:
    node = await start(engine=FILES)
    stream = await raw.stream(long_file.request, Tts_Window=str(WINDOW))
    audio = await take(stream, raw)
    assert WINDOW - MAX_CHUNK_BYTES < len(audio) <= WINDOW
    await stream.credit(node.id, MAX_CHUNK_BYTES)
    more = await take(stream, raw)
    assert len(audio) + len(more) <= WINDOW + MAX_CHUNK_BYTES
    assert more
    audio += more
    assert audio + await rest(stream, node) == long_file.audio


async def test_the_slot_is_free_while_a_slow_caller_still_reads(
    start: StartNode, raw: RawCaller, long_file: LongFile
) -> None:
    node = await start(engine=FILES)
    slow = await raw.stream(long_file.request, Tts_Window=str(WINDOW))
    await take(slow, raw)
    await free(node)
    quick = await raw.stream(long_file.request, Tts_Window=str(2**30))
    assert audio_of(await quick.until(End)) == long_file.audio
    await rest(slow, node)
    await soon(lambda: not node.runs and len(node.inboxes) == 0, "no run is left")


async def test_the_engine_waits_when_a_slow_callers_room_is_full(
    start: StartNode, raw: RawCaller, long_file: LongFile
) -> None:
    node = await start(engine=FILES, buffer_bytes=MAX_CHUNK_BYTES)
    stream = await raw.stream(long_file.request, Tts_Window=str(WINDOW))
    await take(stream, raw)
    assert idle(node) == 0, "its audio has no room, so the slot is not free"
    await rest(stream, node)
    await free(node)


async def test_a_run_that_waits_for_a_slow_caller_ends_with_its_budget(
    start: StartNode, raw: RawCaller, long_file: LongFile
) -> None:
    node = await start(engine=FILES)
    stream = await raw.stream(long_file.request, Tts_Window=str(WINDOW), Tts_Budget_Ms="700")
    await take(stream, raw)
    await soon(lambda: not node.runs and len(node.inboxes) == 0, "no run is left")


async def test_a_slow_caller_that_dies_leaves_nothing(
    start: StartNode, raw: RawCaller, long_file: LongFile
) -> None:
    node = await start(engine=FILES)
    stream = await raw.stream(long_file.request, Tts_Window=str(WINDOW))
    await take(stream, raw)
    await stream.subscription.unsubscribe()
    await soon(lambda: not node.runs and len(node.inboxes) == 0, "no run is left")


async def test_a_lost_connection_does_not_end_a_node_that_has_audio_to_send(
    own_nats_server: NatsServer, raw: RawCaller, longer_file: LongFile
) -> None:
    settings = settings_of(own_nats_server.url, raw.subjects, engine=FILES)
    async with running_node(own_nats_server.url, settings) as node:
        nc = await nats.connect(own_nats_server.url)
        stream = await RawCaller(nc, raw.subjects).stream(longer_file.request, Tts_Window=str(4 * MIB))
        await take(stream, raw)
        (run,) = node.runs
        own_nats_server.stop()
        await soon(lambda: not node.connection.nc.is_connected, "the connection is lost")
        # As if it had come just before; now more is to be sent than nats-py buffers while disconnected.
        run.delivery.credit(4 * MIB, 4 * MIB)
        await soon(lambda: not node.runs, "the run is given up")
        own_nats_server.start()
        await soon(lambda: node.connection.nc.is_connected, "it is back")
        await free(node)
        await nc.close()
