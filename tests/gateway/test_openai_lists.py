"""The models and voices that clients of OpenAI's speech API list and name."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from nats.aio.msg import Msg

from antiphon.client import connect
from antiphon.heartbeat import Voice
from tests.antiphon.scripted_node import MODEL, ScriptedNode
from tests.conftest import until
from tests.gateway.support_openai import Scene, Stage, scene

if TYPE_CHECKING:
    from antiphon.subjects import Subjects
    from tests.conftest import NatsServer
    from tests.gateway.conftest import GatewayFactory

# -- models


@pytest.mark.parametrize("model", ["tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-9 of tomorrow!", "", MODEL])
async def test_any_model_is_taken(on_stage: Scene, model: str) -> None:
    assert (await on_stage.asked(model=model)).text == "hello"


async def test_the_name_of_a_model_that_lives_is_that_model(stage: Stage) -> None:
    async with stage(wait_s=0.5) as made:
        await made.node.arm()  # the default model could speak
        await made.beat(model="other", idle=0)
        status, error = await made.refused(model="other")
        assert (status, error["code"]) == (503, "all_slots_busy")
        made.client.cluster._nodes.clear()
        status, error = await made.refused(model="other")
        assert (status, error["code"]) == (503, "all_slots_busy"), "never another model's voice instead"


async def test_an_alias_with_a_model_means_that_model(stage: Stage) -> None:
    async with stage(model_aliases=f"fast={MODEL}, slow=other", wait_s=0.5) as made:
        assert (await made.asked(model="fast")).text == "hello"
        await made.node.arm()
        await made.beat(model="other", idle=0)
        assert (await made.refused(model="slow"))[0] == 503


async def test_models_are_listed_with_the_aliases(on_stage: Scene) -> None:
    http = on_stage.gateway.http
    async with http.get("/v1/models") as reply:
        values = await reply.json()
    ids = {"tts-1", "tts-1-hd", "gpt-4o-mini-tts", MODEL}
    assert (values["object"], {model["id"] for model in values["data"]}) == ("list", ids)
    for model in values["data"]:
        assert model.keys() == {"id", "object", "created", "owned_by"}
        assert (model["object"], type(model["created"])) == ("model", int)
        async with http.get(f"/v1/models/{model['id']}") as reply:
            assert (reply.status, await reply.json()) == (200, model)
    async with http.get("/v1/audio/models") as reply:
        assert {model["id"] for model in (await reply.json())["models"]} == ids
    async with http.get("/v1/models/org%2Fnone") as reply:
        error = (await reply.json())["error"]
        assert (reply.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert error.keys() == {"message", "type", "param", "code"}


# -- voices


async def test_voices_are_listed_with_the_names_that_openai_has(on_stage: Scene) -> None:
    async with on_stage.gateway.http.get("/v1/audio/voices") as reply:
        voices = {voice["id"]: voice for voice in (await reply.json())["voices"]}
    assert voices["anna"] == {"id": "anna", "name": "Anna", "language": "de", "model": MODEL}
    assert voices["bob"] == {"id": "bob", "name": "bob", "language": "", "model": MODEL}
    assert voices["alloy"] == {"id": "alloy", "name": "alloy (Anna)", "language": "de", "model": MODEL}
    assert len(voices) == 2 + 13


async def test_the_names_of_openai_are_dealt_out_over_the_voices(on_stage: Scene) -> None:
    assert [(await on_stage.asked(voice=name)).voice for name in ("alloy", "ash", "ballad")] == [
        "anna",
        "bob",
        "anna",
    ]
    assert (await on_stage.asked(voice="carla")).voice == "carla", "the node says what it does not have"


async def test_an_engine_s_own_aliases_come_first(on_stage: Scene) -> None:
    on_stage.aliases = {"alloy": "bob", "anna": "bob"}
    assert (await on_stage.asked(voice="alloy")).voice == "bob"
    assert (await on_stage.asked(voice="anna")).voice == "anna", "a voice is no alias"


async def test_configured_aliases_win(stage: Stage) -> None:
    async with stage(voice_aliases=f"alloy=bob,{MODEL}:nova=carla,other:alloy=x,anna=dora") as made:
        made.aliases = {"alloy": "anna", "nova": "anna"}
        assert [(await made.asked(voice=name)).voice for name in ("alloy", "nova", "anna")] == [
            "bob",
            "carla",
            "dora",
        ]


async def test_a_model_without_a_list_gets_every_name_as_it_is(on_stage: Scene) -> None:
    on_stage.voices = ()
    assert (await on_stage.asked(voice="alloy")).voice == "alloy"
    async with on_stage.gateway.http.get("/v1/audio/voices") as reply:
        assert (await reply.json())["voices"] == []


async def test_the_list_is_asked_for_once_until_it_changes(on_stage: Scene) -> None:
    for _ in range(3):
        assert (await on_stage.asked(voice="alloy")).voice == "anna"
    assert on_stage.n_lists == 1
    on_stage.voices = (Voice("dora"),)
    await on_stage.beat(voices_hash="second")
    assert (await on_stage.asked(voice="alloy")).voice == "dora"
    assert on_stage.n_lists == 2


async def test_a_model_that_does_not_answer_holds_up_no_list(on_stage: Scene) -> None:
    await on_stage.beat(model="frozen", voices_hash="")
    await ScriptedNode(on_stage.nc, on_stage.subjects).beat(voices_hash="first")
    async with on_stage.gateway.http.get("/v1/audio/voices") as reply:
        values = await reply.json()
    assert (reply.status, values["missing"]) == (200, ["frozen"])
    assert {voice["model"] for voice in values["voices"]} == {MODEL}


async def test_a_voice_waits_for_a_node_that_is_starting(on_stage: Scene) -> None:
    await on_stage.beat(model="other", state="starting", voices_hash="", idle=0)
    speaking = asyncio.create_task(on_stage.refused(model="other", voice="alloy"))
    async with on_stage.gateway.http.get("/v1/audio/voices", params={"model": "other"}) as reply:
        assert (reply.status, (await reply.json())["error"]["code"]) == (503, "no_nodes")
        assert reply.headers["Retry-After"]
    assert not speaking.done()

    async def on_voices(msg: Msg) -> None:
        await on_stage.nc.publish(msg.reply)

    await on_stage.nc.subscribe(on_stage.subjects.voices("other"), cb=on_voices)
    assert (await speaking)[1]["code"] == "internal", "what it says now is no list"


async def test_lists_answer_without_a_node_and_without_nats(
    nats_url: str, subjects: Subjects, gateway_at: GatewayFactory
) -> None:
    paths = ("/v1/models", "/v1/audio/models", "/v1/audio/voices")
    async with gateway_at() as gateway, connect(nats_url, subjects=subjects) as client:
        for link, code in ((None, "not_connected"), (client, "no_nodes")):
            gateway.link.set(link)
            began = time.monotonic()
            for path, status in zip(paths, (200, 200, 503), strict=True):
                async with gateway.http.get(path) as reply:
                    values = await reply.json()
                    assert reply.status == status, path
            assert values["error"]["code"] == code
            assert time.monotonic() - began < 6


async def test_lists_answer_while_nats_is_away(
    own_nats_server: NatsServer, subjects: Subjects, gateway_at: GatewayFactory
) -> None:
    async with scene(own_nats_server.url, subjects, gateway_at) as made:
        assert (await made.asked(voice="alloy")).voice == "anna"
        await made.beat(model="other")
        own_nats_server.stop()
        await until(lambda: not made.client.connection.nc.is_connected, "the connection is lost")
        for path in ("/v1/models", "/v1/audio/models", f"/v1/audio/voices?model={MODEL}"):
            async with made.gateway.http.get(path) as reply:
                assert reply.status == 200, path
        async with made.gateway.http.get("/v1/audio/voices?model=other") as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (503, "not_connected")
