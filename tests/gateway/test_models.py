"""Several models behind one gateway: who speaks on each way in, and what the lists say."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from antiphon.client import TtsClient, connect
from antiphon.errors import SpeechError
from antiphon.run import Timing
from antiphon.subjects import Subjects
from tests.conftest import node_process, until
from tests.engines.choir import MS
from tests.gateway.support_stream import BYTES_PER_MS, PATH, Stream

if TYPE_CHECKING:
    from tests.conftest import NatsServer
    from tests.gateway.conftest import Gateway, GatewayFactory

CHOIR: Final = Path(__file__).parents[1] / "engines" / "choir.py"
TIMING: Final = Timing(settle_s=0.3)


@dataclass(frozen=True)
class Choir:
    """A gateway, and the client that it speaks through."""

    gateway: Gateway
    client: TtsClient

    async def post(self, path: str, **values: Any) -> dict[str, Any]:
        """Return the JSON answer, or for audio its headers."""
        headers = {"Accept": "application/json"} if values.pop("in_json", False) else {}
        async with self.gateway.http.post(path, json=values, headers=headers) as reply:
            body = await reply.read()
            return (
                dict(await reply.json())
                if reply.content_type == "application/json"
                else {"model": reply.headers["Tts-Model"], "n_bytes": len(body)}
            )

    async def listed(self, **query: str) -> list[dict[str, str]]:
        """Return the voices."""
        async with self.gateway.http.get("/v1/audio/voices", params=query) as reply:
            values = await reply.json()
        assert values["missing"] == []
        return list(values["voices"])


def spoken(answer: dict[str, Any]) -> str:
    """Return the model that spoke, or the code of the error."""
    return str(answer["error"]["code"] if "error" in answer else answer["model"])


async def over_tts(choir: Choir, **values: Any) -> str:
    return spoken(await choir.post("/tts", text="hello", **values))


async def streamed_over_tts(choir: Choir, **values: Any) -> str:
    return spoken(await choir.post("/tts", text="hello", stream=True, **values))


async def with_captions(choir: Choir, **values: Any) -> str:
    answer = await choir.post("/tts", text="hello", timestamps=True, **values)
    assert "error" in answer or answer["audio_ms"] // 50 * 50 == MS[answer["model"]]
    return spoken(answer)


async def like_openai(choir: Choir, **values: Any) -> str:
    return spoken(await choir.post("/v1/audio/speech", input="hello", **{"model": "tts-1", **values}))


async def over_the_websocket(choir: Choir, **values: Any) -> str:
    async with choir.gateway.http.ws_connect(PATH, params=values) as ws:
        stream = Stream(ws)
        await stream.say(text="hello", end=True)
        n_bytes = 0
        while (item := await stream.next()) is not None:
            if isinstance(item, bytes):
                n_bytes += len(item)
            elif item["type"] == "error":
                return str(item["error"]["code"])
    return next(model for model, ms in MS.items() if abs(n_bytes / BYTES_PER_MS - ms) < 50)


async def from_python(choir: Choir, *, model: str | None = None, voice: str | None = None) -> str:
    try:
        audio = await choir.client.speak("hello", model=model, voice=voice, format="pcm", sample_rate=16_000)
    except SpeechError as exc:
        return exc.code
    return next(model for model, ms in MS.items() if len(audio) == 32 * ms)


WAYS: Final = (over_tts, streamed_over_tts, with_captions, like_openai, over_the_websocket, from_python)
Way = Callable[..., Awaitable[str]]
StartChoir = Callable[..., Any]


@pytest.fixture(scope="module")
def singers(nats_server: NatsServer) -> Iterator[Subjects]:
    """A node of each model, for all tests."""
    root = f"t{uuid.uuid4().hex}"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SYNTH_", "GATEWAY_", "NATS_"))}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "synth_node"],
            env={
                **clean,
                "NATS_URL": nats_server.url,
                "TTS_ROOT": root,
                "SYNTH_ENGINE": f"{CHOIR}:{model.title()}",
                "SYNTH_MODEL": model,
            },
            stderr=subprocess.DEVNULL,
        )
        for model in MS
    ]
    yield Subjects(root)
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait(20)


@pytest.fixture
def choir_of(nats_url: str, gateway_at: GatewayFactory) -> StartChoir:
    """Start a gateway with these settings for a group of so many models."""

    @asynccontextmanager
    async def start(subjects: Subjects, *models: str, **settings: Any) -> AsyncIterator[Choir]:
        async with (
            connect(
                nats_url, subjects=subjects, default_model=settings.get("model"), timing=TIMING
            ) as client,
            gateway_at(**settings) as gateway,
        ):
            gateway.link.set(client)
            choir = Choir(gateway, client)
            await ready(choir, *models)
            yield choir

    return start


async def ready(choir: Choir, *models: str) -> None:
    """Wait until these models can speak, and no other one lives."""
    now = asyncio.get_running_loop().time

    def all_are() -> bool:
        beats = [seen.heartbeat for seen in choir.client.cluster.nodes(now())]
        alive, idle = {beat.model for beat in beats}, {beat.model for beat in beats if beat.idle}
        return alive == idle == set(models)

    await until(all_are, f"{models} are ready")


@pytest.mark.parametrize(
    ("default", "values", "speaks"),
    [
        (None, {}, "ambiguous_model"),
        (None, {"voice": "anna"}, "alto"),
        (None, {"voice": "bob"}, "bass"),
        (None, {"voice": "chief"}, "bass"),
        (None, {"voice": "both"}, "ambiguous_model"),
        (None, {"voice": "nobody"}, "ambiguous_model"),
        (None, {"voice": "nobody", "model": "whoever"}, "whoever"),
        (None, {"voice": "nobody", "model": "alto"}, "unknown_voice"),
        ("alto", {}, "alto"),
        ("alto", {"model": "bass"}, "bass"),
        ("alto", {"voice": "bob"}, "bass"),
        ("alto", {"voice": "both"}, "alto"),
        ("alto", {"voice": "nobody"}, "unknown_voice"),
        ("whoever", {"voice": "anna"}, "whoever"),
    ],
)
async def test_the_rule_is_one_on_every_way_in(
    choir_of: StartChoir, singers: Subjects, default: str | None, values: dict[str, str], speaks: str
) -> None:
    async with choir_of(singers, *MS, model=default) as choir:
        assert {way.__name__: await way(choir, **values) for way in WAYS} == {
            way.__name__: speaks for way in WAYS
        }


async def test_who_asks_for_no_model_in_particular_is_told_which_there_are(
    choir_of: StartChoir, singers: Subjects
) -> None:
    async with choir_of(singers, *MS) as choir:
        for path, key in (("/tts", "text"), ("/v1/audio/speech", "input")):
            async with choir.gateway.http.post(path, json={key: "hello"}) as reply:
                error = (await reply.json())["error"]
            assert (reply.status, error["code"], error["param"]) == (400, "ambiguous_model", "model")
            assert error["message"] == "name a model: there are alto, bass and whoever"


async def test_a_model_that_nobody_has_is_refused_with_those_that_there_are(
    choir_of: StartChoir, singers: Subjects
) -> None:
    async with choir_of(singers, *MS, model="alto") as choir:
        await until(lambda: choir.client.connection.connected_for_s > TIMING.settle_s, "it is certain")
        for way in (over_tts, streamed_over_tts, with_captions, over_the_websocket, from_python):
            assert await way(choir, model="typo") == "no_nodes", way.__name__
        answer = await choir.post("/tts", text="hello", model="typo")
        assert answer["error"]["message"] == "no node of model typo is alive (alive: alto, bass, whoever)"
        assert await like_openai(choir, model="typo") == "alto", "there, any name is as good as none"
        assert await like_openai(choir, model="typo", voice="bob") == "bass"


async def test_configured_names_of_voices_choose_too(choir_of: StartChoir, singers: Subjects) -> None:
    aliases = "narrator=bob, whoever:ghost=boo, alto:bob=anna, whoever:nova=boo, echo=chief"
    async with choir_of(singers, *MS, voice_aliases=aliases, model="alto") as choir:
        assert await like_openai(choir, voice="narrator") == "bass"
        assert await like_openai(choir, voice="ghost") == "whoever"
        assert await like_openai(choir, voice="bob") == "alto", "the default one has it by that name too"
        assert await over_the_websocket(choir, voice="narrator") == "bass"
        assert await like_openai(choir, voice="alloy") == "alto", "OpenAI's names are the default one's"
        assert await like_openai(choir, voice="nova") == "whoever", "but not those that are configured"
        assert await like_openai(choir, voice="echo") == "bass"
        assert await over_tts(choir, voice="narrator") == "unknown_voice", "they are names under /v1"


async def test_openai_s_names_are_the_default_one_s_whoever_else_has_them(
    choir_of: StartChoir, nats_url: str, subjects: Subjects
) -> None:
    async with (
        choir_of(subjects, model="alto") as choir,
        node_process(nats_url, subjects, **alto()),
        node_process(nats_url, subjects, engine=f"{CHOIR}:Nova", model="bass"),
    ):
        await ready(choir, "alto", "bass")
        assert await like_openai(choir, voice="nova") == "alto", "as the list of voices says"
        assert {voice["model"] for voice in await choir.listed() if voice["id"] == "nova"} == {"alto", "bass"}
        assert await like_openai(choir, voice="nova", model="bass") == "bass"
        assert await over_tts(choir, voice="nova") == "bass", "they are names under /v1"


async def test_voices_of_all_models_are_listed_once_for_each(choir_of: StartChoir, singers: Subjects) -> None:
    async with choir_of(singers, *MS) as choir:
        assert [(voice["id"], voice["model"]) for voice in await choir.listed()] == [
            *(("anna", "alto"), ("both", "alto")),
            *(("bob", "bass"), ("both", "bass"), ("chief", "bass")),
        ]
        of_bass = {voice["id"]: voice for voice in await choir.listed(model="bass")}
        assert of_bass["chief"] == {"id": "chief", "name": "chief (bob)", "language": "", "model": "bass"}
        assert len(of_bass) == 2 + 1 + 13
    async with choir_of(singers, *MS, model="bass") as choir:
        voices = await choir.listed()
        assert {voice["model"] for voice in voices if voice["id"] == "alloy"} == {"bass"}
        assert voices[0]["model"] == "bass", "the default one first"


async def test_models_come_and_go_without_a_restart(
    choir_of: StartChoir, nats_url: str, subjects: Subjects
) -> None:
    async with choir_of(subjects) as choir, node_process(nats_url, subjects, **alto()):
        await ready(choir, "alto")
        assert await over_tts(choir, voice="anna") == "alto"
        assert await over_tts(choir) == "alto", "the only one"
        async with node_process(
            nats_url, subjects, engine=f"{CHOIR}:Bass", model="bass", heartbeat_s=0.2
        ) as bass:
            await ready(choir, "alto", "bass")
            assert await over_tts(choir) == "ambiguous_model"
            assert await over_tts(choir, voice="bob") == "bass"
            assert {voice["model"] for voice in await choir.listed()} == {"alto", "bass"}
            bass.process.terminate()
            await bass.wait()
        await ready(choir, "alto")
        assert await over_tts(choir) == "alto"
        assert await over_tts(choir, voice="bob") == "unknown_voice"
        assert await over_tts(choir, model="bass") == "no_nodes"
        assert await like_openai(choir, model="bass") == "no_nodes", "never another model's voice instead"
        assert {voice["model"] for voice in await choir.listed()} == {"alto"}


def alto() -> dict[str, str]:
    return {"engine": f"{CHOIR}:Alto", "model": "alto"}


async def test_a_gateway_that_has_just_come_does_not_guess(
    gateway_at: GatewayFactory, nats_url: str, singers: Subjects
) -> None:
    async with connect(nats_url, subjects=singers) as client, gateway_at() as gateway:
        gateway.link.set(client)
        choir = Choir(gateway, client)
        answers = await asyncio.gather(
            over_tts(choir), over_tts(choir, voice="bob"), like_openai(choir, voice="anna")
        )
        assert list(answers) == ["ambiguous_model", "bass", "alto"]
