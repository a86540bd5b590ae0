"""OpenAI's own Python library, asynchronous and not, against a gateway."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from openai import (
    APIConnectionError,
    APIStatusError,
    AsyncOpenAI,
    AuthenticationError,
    BadRequestError,
    DefaultAsyncHttpxClient,
    InternalServerError,
    NotFoundError,
    OpenAI,
)

from antiphon.events import AudioChunk, End, Failure
from antiphon.heartbeat import Running
from tests.antiphon.scripted_node import MODEL
from tests.gateway.support_openai import Scene, scene

if TYPE_CHECKING:
    from antiphon.subjects import Subjects
    from tests.gateway.conftest import GatewayFactory

HELLO: dict[str, Any] = {"model": "tts-1", "voice": "alloy", "input": "hello"}
END = End({"n": 2, "bytes": 10, "audio_ms": 100, "synthesis_ms": 1})
BUSY: dict[str, Any] = {
    "idle": 0,
    "busy": 1,
    "running": (Running("r", characters=10, elapsed_s=0.0),),
    "seconds_per_character": 0.06,
}


@pytest.fixture
async def made(nats_url: str, subjects: Subjects, gateway_at: GatewayFactory) -> AsyncIterator[Scene]:
    """A gateway that wants a key, and its node."""
    async with scene(nats_url, subjects, gateway_at, api_keys="sk-right") as made:
        yield made


@pytest.fixture
async def sdk(made: Scene) -> AsyncIterator[AsyncOpenAI]:
    """The library with the right key; it never tries again."""
    async with AsyncOpenAI(base_url=made.url, api_key="sk-right", max_retries=0) as client:
        yield client


async def test_speech_is_created(made: Scene, sdk: AsyncOpenAI) -> None:
    await made.node.arm()
    serving = asyncio.create_task(made.serve())
    reply = await sdk.audio.speech.create(**HELLO, response_format="wav", speed=1.5, instructions="sadly")
    assert reply.content == b"hello"
    asked = await serving
    assert (asked.voice, asked.format, asked.speed) == ("anna", "wav", 1.5)


async def test_speech_is_created_by_the_library_that_blocks(made: Scene) -> None:
    def create() -> tuple[bytes, list[str], str]:
        with OpenAI(base_url=made.url, api_key="sk-right", max_retries=0) as client:
            audio = client.audio.speech.create(**HELLO).content
            return audio, [model.id for model in client.models.list()], client.models.retrieve(MODEL).id

    await made.node.arm()
    serving = asyncio.create_task(made.serve())
    audio, models, model = await asyncio.to_thread(create)
    assert (audio, model) == (b"hello", MODEL)
    assert set(models) == {MODEL, "tts-1", "tts-1-hd", "gpt-4o-mini-tts"}
    await serving


async def test_bytes_come_before_the_end(made: Scene, sdk: AsyncOpenAI) -> None:
    node = made.node
    await node.arm()
    speaking = sdk.audio.speech.with_streaming_response.create(**HELLO)
    entering = asyncio.create_task(speaking.__aenter__())
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"first"))
    reply = await entering
    try:
        parts = reply.iter_bytes()
        assert await anext(parts) == b"first"
        await node.send(msg, run, AudioChunk(1, b"later"), END)
        assert [part async for part in parts] == [b"later"]
        assert reply.headers["content-type"] == "audio/mpeg"
    finally:
        await speaking.__aexit__(None, None, None)


async def test_a_broken_stream_is_an_error_of_the_library_too(made: Scene, sdk: AsyncOpenAI) -> None:
    node = made.node
    await node.arm()
    creating = asyncio.create_task(sdk.audio.speech.create(**HELLO))
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"first"), Failure("engine_failed", "no", None))
    with pytest.raises(APIConnectionError):
        await creating


async def test_events_are_read_line_by_line(made: Scene, sdk: AsyncOpenAI) -> None:
    await made.node.arm()
    serving = asyncio.create_task(made.serve())
    async with sdk.audio.speech.with_streaming_response.create(**HELLO, stream_format="sse") as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        lines = [line async for line in reply.iter_lines()]
    delta, done = (json.loads(line.removeprefix("data: ")) for line in lines if line)
    assert (delta["type"], base64.b64decode(delta["audio"])) == ("speech.audio.delta", b"hello")
    assert (done["type"], done["usage"]["input_tokens"]) == ("speech.audio.done", 5)
    await serving


@pytest.mark.parametrize(
    ("values", "param", "code"),
    [
        ({"input": "🙂"}, "input", "nothing_to_speak"),
        ({"speed": 0.2}, "speed", "invalid_request"),
        ({"response_format": "ogg"}, "response_format", "invalid_request"),
    ],
)
async def test_a_bad_request_names_its_param(
    sdk: AsyncOpenAI, values: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        await sdk.audio.speech.create(**{**HELLO, **values})
    error = caught.value
    assert (error.param, error.code, error.type) == (param, code, "invalid_request_error")
    assert error.request_id == error.response.headers["x-request-id"] != ""


async def test_a_wrong_key_is_an_authentication_error(made: Scene) -> None:
    async with AsyncOpenAI(base_url=made.url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(AuthenticationError) as caught:
            await client.audio.speech.create(**HELLO)
        assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
        assert [model.id async for model in client.models.list()], "lists need no key"


async def test_no_such_model_and_no_such_path_are_not_found(sdk: AsyncOpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        await sdk.models.retrieve("org/none")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(NotFoundError) as caught:
        await sdk.embeddings.create(model="m", input="x")
    assert caught.value.code == "not_found"


async def test_the_library_comes_again_when_the_forecast_says(
    nats_url: str, subjects: Subjects, gateway_at: GatewayFactory
) -> None:
    statuses: list[int] = []
    serving: list[asyncio.Task[Any]] = []
    async with scene(nats_url, subjects, gateway_at, wait_s=0.5) as made:

        async def on_response(response: Any) -> None:
            statuses.append(response.status_code)
            if len(statuses) == 1:  # it was told to come later: by then a slot is free
                assert 0 < int(response.headers["retry-after-ms"]) <= 600
                await made.node.arm()
                serving.append(asyncio.create_task(made.serve()))

        await made.beat(**BUSY)
        hooks = DefaultAsyncHttpxClient(event_hooks={"response": [on_response]})
        async with AsyncOpenAI(base_url=made.url, api_key="any", http_client=hooks) as client:
            assert (await client.audio.speech.create(**HELLO)).content == b"hello"
        assert statuses == [503, 200]
        await serving[0]


async def test_what_would_fail_again_is_not_tried_again(made: Scene) -> None:
    await made.node.arm()
    failing = asyncio.create_task(made.node.refuse("engine_failed"))
    async with AsyncOpenAI(base_url=made.url, api_key="sk-right", max_retries=5) as client:
        with pytest.raises(InternalServerError) as caught:
            await client.audio.speech.create(**HELLO)
    assert isinstance(caught.value, APIStatusError)
    assert caught.value.response.headers["x-should-retry"] == "false"
    await failing
