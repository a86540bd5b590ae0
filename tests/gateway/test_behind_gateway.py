"""A node whose engine is the /v1 of another group: one region behind another."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.client import TtsClient
from antiphon.errors import SpeechError, UnknownVoice
from antiphon.heartbeat import Heartbeat
from antiphon.mp3 import FrameCounter
from tests.conftest import NodeProcess, StartNode, until, until_ready

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway, GatewayFactory, StartGateway

TEXT = "One region speaks for another."
SECONDS = 0.06 * len(TEXT)
"""Length of what the engine `tone` makes of it."""
KEY = "sk-upstream-hunter2"


def behind(url: str, **settings: Any) -> dict[str, Any]:
    """Return the settings of a node behind the gateway at `url`."""
    return {"engine": "openai", "openai_base_url": f"{url}/v1", "openai_model": "tone", **settings}


async def upstream(gateway: Gateway, text: str, **values: Any) -> bytes:
    """Ask the upstream gateway directly."""
    body = {"model": "tone", "input": text, "voice": "a4", **values}
    async with gateway.http.post("/v1/audio/speech", json=body) as reply:
        audio = await reply.read()
        assert reply.status == 200, audio
        return audio


def seconds_of(mp3: bytes) -> float:
    return FrameCounter().feed(mp3)


def beat_of(client: TtsClient, node: NodeProcess) -> Heartbeat:
    """Return the last heartbeat of a node."""
    seen = client.cluster.nodes(asyncio.get_running_loop().time())
    return next(each.heartbeat for each in seen if each.heartbeat.name == node.name)


async def test_samples_are_spoken_with_voice_and_speed(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient
) -> None:
    async with speaking() as gateway:
        await start_node(**behind(gateway.server.url))
        await until_ready(client)
        assert {voice.id for voice in await client.voices()} >= {"a3", "a4", "c5", "alloy"}
        high, low, fast = [
            await client.speak(TEXT, format="pcm", sample_rate=24_000, **how)
            for how in ({"voice": "a5"}, {"voice": "a3"}, {"voice": "a3", "speed": 2.0})
        ]
        assert high == await upstream(gateway, TEXT, voice="a5", response_format="pcm")
        assert low == await upstream(gateway, TEXT, voice="a3", response_format="pcm") != high
        assert fast == await upstream(gateway, TEXT, voice="a3", response_format="pcm", speed=2)
        assert len(low) / 48_000 == pytest.approx(SECONDS, abs=0.01)
        assert len(fast) / 48_000 == pytest.approx(SECONDS / 2, abs=0.01)


async def test_mp3_is_passed_on_byte_for_byte_and_made_into_anything_else(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient
) -> None:
    async with speaking() as gateway:
        await start_node(**behind(gateway.server.url, openai_format="mp3"))
        await until_ready(client)
        passed_on = b"".join([chunk async for chunk in client.stream(TEXT, voice="a4")])
        assert passed_on == await upstream(gateway, TEXT)
        samples = await client.speak(TEXT, voice="a4", format="pcm", sample_rate=16_000)
        assert len(samples) / 32_000 == pytest.approx(SECONDS, abs=0.1)


@pytest.mark.parametrize("format", ["pcm", "mp3"])
async def test_the_first_audio_comes_while_the_last_is_not_made_yet(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient, tmp_path: Path, format: str
) -> None:
    async with speaking() as gateway:
        url = gateway.server.url
        await start_node(**behind(url, openai_model="scripted", openai_format=format))
        await until_ready(client)
        async with aclosing(client.stream(f"until {tmp_path / 'on'}", format=format)) as chunks:
            assert await anext(chunks)
            (tmp_path / "on").touch()
            assert [chunk async for chunk in chunks]


async def test_what_is_wrong_with_the_request_is_said_before_any_audio(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient
) -> None:
    async with speaking() as gateway:
        # The node takes the first voice on trust, and the server's word for it that there is none.
        node = await start_node(**behind(gateway.server.url, openai_voices="zz,a4"))
        await until_ready(client)
        with pytest.raises(UnknownVoice, match=r"400 \(unknown_voice\): .*'zz'"):
            await client.speak(TEXT, voice="zz")
        with pytest.raises(UnknownVoice, match="there is no voice 'yy'"):
            await client.speak(TEXT, voice="yy")
        assert seconds_of(await client.speak(TEXT, voice="a4")) == pytest.approx(SECONDS, abs=0.2)
        assert TEXT not in node.log


async def test_the_right_key_opens_and_is_seen_nowhere(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    async with speaking(api_keys=KEY) as gateway:
        url = gateway.server.url
        node = await start_node(**behind(url, openai_api_key_file=tmp_path / "key"))
        await until_ready(client)
        assert await client.speak(TEXT)
        assert KEY not in node.log


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"openai_api_key": f"{KEY}-wrong"}, "the server wants another SYNTH_OPENAI_API_KEY"),
        ({}, "the server wants a key: set SYNTH_OPENAI_API_KEY"),
        (
            {"openai_api_key": KEY, "openai_base_url": "/v2"},
            "SYNTH_OPENAI_BASE_URL has no /audio/speech behind it: the server answered 404",
        ),
    ],
)
async def test_what_is_wrong_with_the_settings_ends_the_node_with_a_sentence(
    speaking: GatewayFactory, start_node: StartNode, settings: dict[str, str], sentence: str
) -> None:
    async with speaking(api_keys=KEY) as gateway:
        url = gateway.server.url
        node = await start_node(
            engine="openai", **{**settings, "openai_base_url": url + settings.get("openai_base_url", "/v1")}
        )
        assert await node.wait() == 2
        await until(lambda: sentence in node.log, "it says why")
        assert KEY not in node.log


async def test_all_callers_are_served_by_an_upstream_that_is_too_small(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    # One slot there, four here, and a stranger in that slot; nobody waits long in the gateway there.
    async with speaking(wait_s=0.05) as gateway, asyncio.TaskGroup() as tasks:
        node = await start_node(**behind(gateway.server.url, openai_model="scripted", slots=4))
        await until_ready(client)
        stranger = tasks.create_task(upstream(gateway, f"until {tmp_path / 'on'}", model="scripted"))
        cluster, now = gateway.link.client.cluster, asyncio.get_running_loop().time
        await until(
            lambda: all(node.heartbeat.idle == 0 for node in cluster.nodes(now(), "scripted")),
            "the stranger speaks",
        )
        callers = [tasks.create_task(client.speak(f"caller {number}")) for number in range(4)]
        await until(lambda: '"limit": 1' in node.log, "it was refused until it offers one slot only")
        await until(lambda: "is asked again" in node.log, "it tries again")
        (tmp_path / "on").touch()
        audios = [await each for each in (stranger, *callers)]
        assert all(seconds_of(audio) >= 2.0 for audio in audios)
        await until(lambda: beat_of(client, node).busy == 0, "all is over")
        assert beat_of(client, node).failed == 0


async def test_leaving_here_frees_the_slot_there(
    speaking: GatewayFactory, start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    async with speaking() as gateway:
        await start_node(**behind(gateway.server.url, openai_model="scripted"))
        await until_ready(client)
        async with aclosing(client.stream(f"until {tmp_path / 'never'}")) as chunks:
            await anext(chunks)
        assert len(await client.speak("next")) > 0


async def test_a_gateway_that_is_killed_breaks_the_stream_which_another_node_goes_on_with(
    serving: StartGateway, speaking: GatewayFactory, start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    text = f"until {tmp_path / 'on'}"
    async with serving() as doomed, speaking() as gateway:
        await start_node(**behind(doomed.url, openai_model="scripted"))
        await until_ready(client)
        async with aclosing(client.stream(text, format="pcm", sample_rate=24_000)) as chunks:
            heard = await anext(chunks)
            await start_node(**behind(gateway.server.url, openai_model="scripted"))
            await until_ready(client)
            doomed.process.kill()
            (tmp_path / "on").touch()
            heard += b"".join([chunk async for chunk in chunks])
    assert len(heard) / 48_000 >= 2.0


async def test_without_another_node_a_stream_is_broken_and_never_ends_in_order(
    serving: StartGateway, start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    async with serving() as doomed:
        await start_node(**behind(doomed.url, openai_model="scripted"))
        await until_ready(client)
        chunks = client.stream(f"until {tmp_path / 'never'}", wait_s=0.5)
        async with aclosing(chunks):
            await anext(chunks)
            doomed.process.kill()
            with pytest.raises(SpeechError):
                async for _ in chunks:
                    pass


async def test_a_node_waits_for_its_upstream_and_joins_when_it_is_there(
    gateway_at: GatewayFactory, speaking: GatewayFactory, start_node: StartNode, client: TtsClient
) -> None:
    async with gateway_at() as gateway, speaking() as other:
        node = await start_node(**behind(gateway.server.url))
        await until(lambda: "not reachable" in node.log, "it has asked in vain")
        assert "503 (not_connected)" in node.log
        assert beat_of(client, node).state == "starting"
        gateway.link.set(other.link.client)
        await until_ready(client)
        assert await client.speak(TEXT)
