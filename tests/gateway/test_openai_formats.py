"""Every format of OpenAI's speech API, from a real node to decoders that are not ours."""

from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import av
import pytest

from antiphon.openai_voices import OPENAI_VOICES
from antiphon.request import CONTENT_TYPES
from tests.conftest import until_ready

if TYPE_CHECKING:
    from antiphon.client import TtsClient
    from tests.conftest import StartNode
    from tests.gateway.conftest import Gateway, GatewayFactory

TEXT = "x" * 25
SECONDS = 25 * 0.06
HEADS = {
    "mp3": b"\xff",
    "opus": b"OggS",
    "aac": b"\xff",
    "flac": b"fLaC",
    "wav": b"RIFF",
}


async def speech(gateway: Gateway, **values: Any) -> bytes:
    values = {"model": "tts-1", "voice": "alloy", "input": TEXT, **values}
    async with gateway.http.post("/v1/audio/speech", json=values) as reply:
        audio = await reply.read()
        assert reply.status == 200, audio
        if values.get("stream_format") != "sse":
            assert reply.headers["Content-Type"] == CONTENT_TYPES[values["response_format"]]
    return audio


def decoded(format: str, audio: bytes) -> tuple[float, int]:
    """Return duration in seconds and sample rate of a file, all of it decoded."""
    if format == "pcm":
        return len(audio) / 2 / 24_000, 24_000
    with av.open(io.BytesIO(audio), "r") as container:
        frames = list(container.decode(audio=0))
    rate = frames[0].sample_rate
    assert {frame.layout.nb_channels for frame in frames} == {1}
    return sum(frame.samples for frame in frames) / rate, rate


@pytest.mark.parametrize("format", CONTENT_TYPES)
async def test_a_format_is_whole_when_others_decode_it(speaking: GatewayFactory, format: str) -> None:
    async with speaking() as gateway:
        audio = await speech(gateway, response_format=format)
        assert audio.startswith(HEADS.get(format, b""))
        seconds, rate = decoded(format, audio)
        assert seconds == pytest.approx(SECONDS, abs=0.1)
        assert rate == {"opus": 48_000, "pcm": 24_000, "aac": 32_000}.get(format, 22_050)


@pytest.mark.parametrize("format", CONTENT_TYPES)
async def test_events_hold_the_same_file(speaking: GatewayFactory, format: str) -> None:
    async with speaking() as gateway:
        text = (await speech(gateway, response_format=format, stream_format="sse")).decode()
        *deltas, done = (json.loads(line.removeprefix("data: ")) for line in text.split("\n\n")[:-1])
        assert done["usage"] == {"input_tokens": 25, "output_tokens": 30, "total_tokens": 55}
        audio = b"".join(base64.b64decode(event["audio"]) for event in deltas)
        assert decoded(format, audio)[0] == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("speed", [0.25, 4.0])
async def test_speed_is_heard(speaking: GatewayFactory, speed: float) -> None:
    async with speaking() as gateway:
        audio = await speech(gateway, response_format="pcm", speed=speed)
        assert decoded("pcm", audio)[0] == pytest.approx(SECONDS / speed, abs=0.1)


async def test_names_of_openai_are_different_voices(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        spoken = [
            await speech(gateway, response_format="pcm", voice=voice)
            for voice in ("alloy", "a4", "ash", {"id": "ballad"})
        ]
        assert spoken[0] == spoken[1]
        assert len(set(spoken)) == 3
        values = {"input": "hi", "voice": "nobody"}
        async with gateway.http.post("/v1/audio/speech", json=values) as reply:
            error = (await reply.json())["error"]
            assert (reply.status, error["code"], error["param"]) == (400, "unknown_voice", "voice")


async def test_names_of_openai_are_different_voices_of_espeak(
    gateway_at: GatewayFactory, start_node: StartNode, client: TtsClient
) -> None:
    await start_node(engine="espeak", slots=2)
    await until_ready(client)
    async with gateway_at() as gateway:
        gateway.link.set(client)
        spoken = [
            await speech(gateway, input="hello", response_format="pcm", voice=name) for name in OPENAI_VOICES
        ]
        assert len(set(spoken)) == len(OPENAI_VOICES)
        async with gateway.http.get("/v1/audio/voices") as reply:
            ids = [voice["id"] for voice in (await reply.json())["voices"]]
        assert set(OPENAI_VOICES) <= set(ids)
        assert len(set(ids)) == len(ids)
        assert "en-us" in ids
