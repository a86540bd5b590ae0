"""GET /v1/audio/stream: what is spoken and when, with real nodes behind a real nats-server."""

from __future__ import annotations

import array
import asyncio
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import WSMsgType

from antiphon.client import connect
from tests.gateway.support_stream import (
    BYTES_PER_MS,
    MS_PER_CHARACTER,
    Marks,
    busy_slots,
    kinds,
    spoken,
    stream_at,
)

if TYPE_CHECKING:
    from antiphon.subjects import Subjects
    from tests.conftest import StartNode
    from tests.gateway.conftest import Gateway, GatewayFactory


SCRIPTED = f"{Path(__file__).parent / 'scripted.py'}:Scripted"


def ms_of(text: str) -> int:
    return MS_PER_CHARACTER * len(text)


async def test_a_sentence_is_spoken_before_the_next_is_complete(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        for token in ("Hel", "lo", " there", ".", " How", " are"):
            await stream.say(text=token)
        marks, audio = await stream.until("segment_finished")
        assert marks == [
            {"type": "segment_started", "segment": 0, "text": "Hello there.", "offset": 0},
            {"type": "segment_finished", "segment": 0, "audio_ms": ms_of("Hello there.")},
        ]
        assert len(audio) == BYTES_PER_MS * ms_of("Hello there.")
        await stream.say(text=" you?", end=True)
        marks, audio = await stream.rest()
        assert marks == [
            {"type": "segment_started", "segment": 1, "text": "How are you?", "offset": 13},
            {"type": "segment_finished", "segment": 1, "audio_ms": ms_of("How are you?")},
            {"type": "done", "segments": 2, "audio_ms": 2 * ms_of("Hello there.")},
        ]
        assert len(audio) == BYTES_PER_MS * ms_of("How are you?")
        assert (stream.close_code, stream.reason) == (1000, "done")


async def test_many_sentences_come_in_order_and_nothing_is_lost(speaking: GatewayFactory) -> None:
    sentences = [f"This is sentence number {n} of them all. " for n in range(30)]
    text = "".join(sentences)
    async with speaking() as gateway, stream_at(gateway) as stream:
        for begin in range(0, len(text), 7):
            await stream.say(text=text[begin : begin + 7])
        await stream.say(end=True)
        marks, audio = await stream.rest()
    assert spoken(marks) == [sentence.strip() for sentence in sentences]
    assert all(
        text.startswith(mark["text"], mark["offset"]) for mark in marks if mark["type"] == "segment_started"
    )
    assert kinds(marks) == ["segment_started", "segment_finished"] * 30 + ["done"]
    assert [mark["segment"] for mark in marks[:-1]] == [n // 2 for n in range(60)]
    assert len(audio) == BYTES_PER_MS * sum(ms_of(sentence.strip()) for sentence in sentences)


async def test_a_flush_speaks_what_there_is(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        await stream.say(text="no full stop")
        await stream.say(flush=True)
        marks, _ = await stream.until("flushed")
        assert (spoken(marks), kinds(marks)[-2:]) == (["no full stop"], ["segment_finished", "flushed"])
        await stream.say(flush=True)
        assert await stream.until("flushed") == ([{"type": "flushed"}], b"")
        await stream.say(text="in one message", flush=True, end=True)
        marks, _ = await stream.rest()
        assert (spoken(marks), kinds(marks)[-2:]) == (["in one message"], ["flushed", "done"])


async def test_what_cannot_be_spoken_is_passed_over(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        await stream.say(text="Good. 🎉\n\n", other="unknown", voice=None, cancel=False)
        await stream.say(text="🎉", flush=True)
        await stream.say(text=" \n ", flush=True)
        await stream.say(text="Bye.", end=True)
        marks, _ = await stream.rest()
        assert [each for text in spoken(marks) for each in text.split()][-1] == "Bye."
        assert kinds(marks).count("segment_started") == 2
        assert (marks[-1]["segments"], stream.close_code) == (2, 1000)


async def test_nothing_at_all_is_done_at_once(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway) as stream:
        await stream.say(end=True)
        assert await stream.rest() == ([{"type": "done", "segments": 0, "audio_ms": 0}], b"")
        assert stream.close_code == 1000


async def test_a_text_without_full_stops_is_spoken_all_the_same(speaking: GatewayFactory) -> None:
    text = "one word after another, " * 50
    async with speaking() as gateway, stream_at(gateway, speed="4") as stream:
        await stream.say(text=text[:700])
        marks, _ = await stream.until("segment_finished")
        assert 400 < len(spoken(marks)[0]) <= 500
        await stream.say(text=text[700:], end=True)
        more, _ = await stream.rest()
        assert " ".join(spoken(marks) + spoken(more)) == text.strip()


async def test_options_come_in_the_query_and_in_messages(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway, speed="2", sample_rate="8000") as stream:
        await stream.say(text="twenty characters...", flush=True)
        marks, audio = await stream.until("flushed")
        assert marks[1]["audio_ms"] == 600
        assert len(audio) == 600 * 16
        await stream.say(speed=1, sample_rate=16000, voice="a3", text="twenty characters...", end=True)
        marks, audio = await stream.rest()
        assert (marks[1]["audio_ms"], len(audio)) == (1200, 1200 * 32)


async def test_aliases_are_names_too(speaking: GatewayFactory) -> None:
    async with (
        speaking(voice_aliases="low=a3", model_aliases="tts-1,mute=scripted") as gateway,
        stream_at(gateway, model="tts-1", voice="low") as stream,
    ):
        await stream.say(text="a sentence long enough", flush=True)
        _, audio = await stream.until("flushed")
        assert pitch_of(audio) == pytest.approx(220, rel=0.02)
        await stream.say(text="another", model="mute", voice="low", end=True)
        marks, _ = await stream.rest()
        assert marks[1]["audio_ms"] == 2000


async def test_words_are_told_with_their_times(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway, timestamps="true") as stream:
        await stream.say(text="Hello there. Bye now.", end=True)
        marks, _ = await stream.rest()
        told = [
            (mark["segment"], word) for mark in marks if mark["type"] == "words" for word in mark["words"]
        ]
        assert [segment for segment, _ in told] == [0, 0, 1, 1]
        assert told[-1][1] == {"offset": 4, "length": 4, "start_ms": 240, "end_ms": 480}


async def test_other_formats_are_a_file_for_each_segment(speaking: GatewayFactory) -> None:
    async with speaking() as gateway, stream_at(gateway, format="wav") as stream:
        await stream.say(text="One. Two. ", end=True)
        for _ in range(2):
            _, audio = await stream.until("segment_finished")
            assert (audio[:4], audio.count(b"RIFF")) == (b"RIFF", 1)
        await stream.until("done")


def pitch_of(audio: bytes) -> float:
    """Return the pitch in Hz of pcm at 24 kHz, by its zero crossings."""
    samples = array.array("h", audio)
    crossings = sum((a < 0) != (b < 0) for a, b in pairwise(samples))
    return crossings / 2 / (len(samples) / 24_000)


async def test_two_streams_at_once_never_mix(speaking: GatewayFactory) -> None:
    sentences = "".join(f"Sentence {n} of one stream. " for n in range(8))

    async def heard(gateway: Gateway, voice: str) -> tuple[Marks, bytes]:
        async with stream_at(gateway, voice=voice) as stream:
            await stream.say(text=sentences, end=True)
            return await stream.rest()

    async with speaking() as gateway, asyncio.TaskGroup() as tasks:
        voices = {"a3": 220, "a5": 880, "c5": 523}
        running = {voice: tasks.create_task(heard(gateway, voice)) for voice in voices}
        for voice, hertz in voices.items():
            marks, audio = await running[voice]
            assert kinds(marks) == ["segment_started", "segment_finished"] * 8 + ["done"]
            second = 24_000 * 2
            pitches = [pitch_of(audio[at : at + second]) for at in range(0, len(audio) - second, second)]
            assert pitches == pytest.approx([hertz] * len(pitches), rel=0.02)


async def test_one_segment_is_made_ahead_and_no_more(
    gateway_at: GatewayFactory, start_node: StartNode, nats_url: str, subjects: Subjects, tmp_path: Path
) -> None:
    gates = [tmp_path / f"gate{n}" for n in range(3)]
    async with connect(nats_url, subjects=subjects) as client, gateway_at(model="scripted") as gateway:
        gateway.link.set(client)
        await start_node(engine=SCRIPTED, model="scripted", slots=3)
        async with asyncio.timeout(20):
            while (await client.status()).slots < 3 or (await client.status()).busy:
                pass
        async with stream_at(gateway) as stream:
            for gate in gates:
                await stream.say(text=f"until {gate}", flush=True)
            await stream.until("segment_started")
            await busy_slots(gateway, "scripted", 2)
            gates[0].touch()
            await stream.until("segment_started")
            await busy_slots(gateway, "scripted", 2)
            gates[1].touch()
            await stream.until("segment_started")
            await busy_slots(gateway, "scripted", 1)
            gates[2].touch()
            await stream.say(end=True)
            marks, _ = await stream.rest()
            assert marks[-1]["segments"] == 3


async def test_pings_are_answered_and_sent(speaking: GatewayFactory) -> None:
    async with (
        speaking(stream_ping_s=0.05) as gateway,
        stream_at(gateway, autoping=False) as stream,
        asyncio.timeout(20),
    ):
        await stream.ws.ping(b"are you there?")
        seen: set[tuple[WSMsgType, bytes]] = set()
        while len(seen) < 2:
            message = await stream.ws.receive()
            seen.add((message.type, bytes(message.data)))
        assert seen == {(WSMsgType.PONG, b"are you there?"), (WSMsgType.PING, b"")}
