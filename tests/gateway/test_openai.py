"""What clients of OpenAI's speech API send and expect, as bytes over HTTP, with a scripted node behind."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientPayloadError

from antiphon.events import AudioChunk, End, Failure
from antiphon.heartbeat import Running
from antiphon.request import CONTENT_TYPES
from tests.antiphon.scripted_node import MODEL
from tests.gateway.support_openai import SPEECH, Scene, Stage

if TYPE_CHECKING:
    pass

END = End({"n": 2, "bytes": 10, "audio_ms": 120, "synthesis_ms": 1})


# -- the request


async def test_input_alone_is_enough_and_becomes_mp3(on_stage: Scene) -> None:
    asked = await on_stage.asked()
    assert (asked.text, asked.format, asked.voice, asked.speed) == ("hello", "mp3", None, 1.0)
    assert asked.sample_rate is None


@pytest.mark.parametrize("format", CONTENT_TYPES)
async def test_every_format_has_its_content_type(on_stage: Scene, format: str) -> None:
    asked = await on_stage.asked(response_format=format)
    assert (asked.format, asked.sample_rate) == (format, 24_000 if format == "pcm" else None)
    await on_stage.node.arm()
    serving = asyncio.create_task(on_stage.serve())
    async with on_stage.gateway.http.post(SPEECH, json={"input": "hi", "response_format": format}) as reply:
        assert reply.headers["Content-Type"] == CONTENT_TYPES[format]
        assert reply.headers["Transfer-Encoding"] == "chunked"
        assert (reply.headers["Tts-Model"], reply.headers["Tts-Node"]) == (MODEL, on_stage.node.id)
    await serving


@pytest.mark.parametrize("voice", ["bob", {"id": "bob"}, {"id": "bob", "name": "Bob"}])
async def test_a_voice_is_a_name_or_an_object_with_an_id(on_stage: Scene, voice: Any) -> None:
    assert (await on_stage.asked(voice=voice)).voice == "bob"


@pytest.mark.parametrize("speed", [0.25, 1, 4.0])
async def test_the_whole_range_of_speeds_is_taken(on_stage: Scene, speed: float) -> None:
    assert (await on_stage.asked(speed=speed)).speed == speed


async def test_what_is_unknown_or_null_is_no_error(on_stage: Scene) -> None:
    more: dict[str, Any] = {
        "instructions": "sadly",
        "lang_code": "en",
        "stream": True,
        "return_timestamps": [],
    }
    nothing = dict.fromkeys(["voice", "speed", "response_format", "stream_format", "model", "instructions"])
    for extra in (more, nothing):
        asked = await on_stage.asked(**extra)
        assert (asked.text, asked.format, asked.speed) == ("hello", "mp3", 1.0)


async def test_a_full_stop_and_a_long_text_are_spoken(on_stage: Scene) -> None:
    assert (await on_stage.asked(input=".")).text == "."
    assert len((await on_stage.asked(input="a" * 5000)).text) == 5000


@pytest.mark.parametrize(
    ("values", "param", "code"),
    [
        ({"input": None}, "input", "invalid_request"),
        ({"input": 5}, "input", "invalid_request"),
        ({"input": ["a"]}, "input", "invalid_request"),
        ({"input": ""}, "input", "invalid_request"),
        ({"input": " \n"}, "input", "invalid_request"),
        ({"input": "🙂 🎉"}, "input", "nothing_to_speak"),
        ({"input": "\ud800"}, "input", "invalid_request"),
        ({"input": "x" * 201}, "input", "text_too_long"),
        ({"voice": 5}, "voice", "invalid_request"),
        ({"voice": ""}, "voice", "invalid_request"),
        ({"voice": {"name": "bob"}}, "voice", "invalid_request"),
        ({"voice": {"id": 5}}, "voice", "invalid_request"),
        ({"speed": 0.2}, "speed", "invalid_request"),
        ({"speed": 4.1}, "speed", "invalid_request"),
        ({"speed": "fast"}, "speed", "invalid_request"),
        ({"speed": True}, "speed", "invalid_request"),
        ({"response_format": "ogg"}, "response_format", "invalid_request"),
        ({"response_format": 5}, "response_format", "invalid_request"),
        ({"response_format": []}, "response_format", "invalid_request"),
        ({"stream_format": "ws"}, "stream_format", "invalid_request"),
        ({"model": 5}, "model", "invalid_request"),
    ],
)
async def test_what_is_wrong_is_named_as_openai_names_it(
    stage: Stage, values: dict[str, Any], param: str, code: str
) -> None:
    async with stage(max_text_characters=200) as made:
        status, error = await made.refused(**values)
        assert (status, error["param"], error["code"]) == (400, param, code)
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("code", "param", "theirs"),
    [
        ("unknown_voice", "voice", "voice"),
        ("unsupported_format", "format", "response_format"),
        ("invalid_request", "sample_rate", "response_format"),
        ("nothing_to_speak", "text", "input"),
        ("invalid_request", None, None),
    ],
)
async def test_what_the_node_refuses_is_a_status_in_openai_s_terms(
    on_stage: Scene, code: str, param: str | None, theirs: str | None
) -> None:
    await on_stage.node.arm()
    refusing = asyncio.create_task(on_stage.node.refuse(code, param=param))
    status, error = await on_stage.refused(voice="nobody", stream_format="sse")
    assert (status, error["code"], error["param"]) == (400, code, theirs)
    await refusing


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"hello", "text/plain", 415, "unsupported_media_type"),
        (b"input=hello", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"hello", "application/json", 400, "invalid_request"),
        (b"[]", "application/json", 400, "invalid_request"),
        (b"{}", "application/json; charset=utf-8", 400, "invalid_request"),
        (b"\xff", "application/json", 400, "invalid_request"),
        (b"x" * 2000, "application/json", 413, "body_too_large"),
    ],
)
async def test_a_body_that_is_no_request_has_the_error_shape(
    stage: Stage, body: bytes, content_type: str, status: int, code: str
) -> None:
    async with (
        stage(max_body_bytes=1000) as made,
        made.gateway.http.post(SPEECH, data=body, headers={"Content-Type": content_type}) as reply,
    ):
        error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (status, code)
        assert error.keys() == {"message", "type", "param", "code"}
        assert reply.headers["X-Request-Id"]


# -- streaming


async def test_audio_comes_while_it_is_made(on_stage: Scene) -> None:
    node = on_stage.node
    await node.arm()
    posting = asyncio.create_task(on_stage.gateway.http.post(SPEECH, json={"input": "hi"}).__aenter__())
    msg = await node.request()
    run = await node.accept(msg)
    assert not posting.done()
    await node.send(msg, run, AudioChunk(0, b"first"))
    async with asyncio.timeout(10), await posting as reply:
        assert await reply.content.readexactly(5) == b"first"
        await node.send(msg, run, AudioChunk(1, b"later"), END)
        assert await reply.content.read() == b"later"


async def test_a_failure_after_the_first_audio_breaks_the_connection(on_stage: Scene) -> None:
    node = on_stage.node
    await node.arm()
    posting = asyncio.create_task(on_stage.gateway.http.post(SPEECH, json={"input": "hi"}).__aenter__())
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"first"))
    async with asyncio.timeout(10), await posting as reply:
        assert reply.status == 200
        await node.send(msg, run, Failure("engine_failed", "no", None))
        with pytest.raises((ClientPayloadError, ConnectionResetError)):
            await reply.read()


async def test_a_client_that_leaves_ends_its_run(on_stage: Scene) -> None:
    node = on_stage.node
    await node.arm()
    posting = asyncio.create_task(on_stage.gateway.http.post(SPEECH, json={"input": "hi"}).__aenter__())
    msg = await node.request()
    run = await node.accept(msg)
    await node.send(msg, run, AudioChunk(0, b"first"))
    reply = await posting
    reply.close()
    assert await asyncio.wait_for(node.cancels.get(), 10) == run


async def events_of(made: Scene, *following: Any) -> list[dict[str, Any]]:
    """Ask for events; the node sends b"first", then what follows. Returns them."""
    await made.node.arm()
    values = {"input": "hello", "stream_format": "sse", "response_format": "opus"}
    posting = asyncio.create_task(made.gateway.http.post(SPEECH, json=values).__aenter__())
    msg = await made.node.request()
    run = await made.node.accept(msg)
    await made.node.send(msg, run, AudioChunk(0, b"first"))
    async with asyncio.timeout(10), await posting as reply:
        assert (reply.status, reply.content_type) == (200, "text/event-stream")
        assert reply.headers["Tts-Model"] == MODEL
        first = await reply.content.readuntil(b"\n\n")
        await made.node.send(msg, run, *following)
        text = (first + await reply.read()).decode()
    lines = text.split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") and "\n" not in line for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


async def test_events_carry_the_audio_and_end_with_the_usage(on_stage: Scene) -> None:
    *deltas, done = await events_of(on_stage, AudioChunk(1, b"later"), END)
    assert [event.pop("type") for event in deltas] == ["speech.audio.delta"] * 2
    assert [base64.b64decode(event.pop("audio")) for event in deltas] == [b"first", b"later"]
    assert deltas == [{}, {}]
    usage = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8}
    assert done == {"type": "speech.audio.done", "usage": usage}


async def test_a_failure_is_the_last_event(on_stage: Scene) -> None:
    delta, failure = await events_of(on_stage, Failure("engine_failed", "no", "text"))
    assert delta["type"] == "speech.audio.delta"
    assert failure["type"] == "error"
    assert failure["error"] == {
        "message": "no",
        "type": "server_error",
        "param": "input",
        "code": "engine_failed",
    }


async def test_all_busy_is_a_503_with_a_forecast(stage: Stage) -> None:
    async with stage(wait_s=0.5) as made:
        running = (Running("r", characters=100, elapsed_s=0.0),)
        await made.beat(idle=0, busy=1, running=running, seconds_per_character=0.1)
        async with made.gateway.http.post(SPEECH, json={"input": "hi"}) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (503, "all_slots_busy")
            assert 5_000 < int(reply.headers["Retry-After-Ms"]) <= 10_000
            assert 5 < int(reply.headers["Retry-After"]) <= 10


# -- around it


@pytest.mark.parametrize("path", ["models", f"models/{MODEL}", "audio/models", "audio/voices"])
async def test_head_works_wherever_get_does(on_stage: Scene, path: str) -> None:
    http = on_stage.gateway.http
    async with http.get(f"/v1/{path}") as got, http.head(f"/v1/{path}") as head:
        assert (head.status, head.content_type) == (got.status, got.content_type) == (200, "application/json")
        assert (head.content_length, await head.read()) == (len(await got.read()), b"")


async def test_paths_that_would_be_taken_for_another_server_are_missing(on_stage: Scene) -> None:
    for path in ("/v1/readyz", "/v1/test"):
        async with on_stage.gateway.http.get(path) as reply:
            assert (reply.status, (await reply.json())["error"]["code"]) == (404, "not_found")
    async with on_stage.gateway.http.get("/health") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "ok"})
