"""The engine and a server on loopback: what is sent, what becomes of each answer, and who waits."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from antiphon.errors import Draining, EngineCrashed, EngineFailed, SpeechError, UnknownVoice
from synth_node.host import EngineRequest, EngineUnavailable
from synth_node.network import attempts
from tests.synth_node.conftest import GUARD_S
from tests.synth_node.network.support import spoken
from tests.synth_node.openai.support import (
    KEY,
    PCM,
    Answer,
    Asked,
    Server,
    engine_for,
    fails,
    says,
    serving,
    speaks,
    speaks_together,
)
from tests.synth_node.openai.test_samples import wav

BAD_KEY = {"error": {"message": f"Incorrect API key {KEY[:9]}"}}
QUOTA = {"error": {"message": "pay", "type": "insufficient_quota", "code": "insufficient_quota"}}


async def test_the_request_is_what_the_settings_and_the_caller_say(server: Server) -> None:
    extra = '{"stream": true, "lang_code": "a"}'
    async with engine_for(server.url, model="kokoro", instructions="Whisper.", extra_body=extra) as (
        engine,
        _,
    ):
        assert await spoken(engine, "Grüße", voice="nova", speed=1.25) == PCM
    (asked,) = server.asked
    assert asked.request.path == "/v1/audio/speech"
    assert asked.request.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.request.headers["Accept-Encoding"] == "identity"
    assert asked.body == {
        "model": "kokoro",
        "input": "Grüße",
        "voice": "nova",
        "response_format": "pcm",
        "speed": 1.25,
        "instructions": "Whisper.",
        "stream": True,
        "lang_code": "a",
    }


async def test_without_a_key_none_is_sent_and_voices_of_the_settings_come_first(server: Server) -> None:
    async with engine_for(server.url, api_key=None, voices="zoe,alloy", format="mp3") as (engine, _):
        assert [voice.id for voice in engine.info.voices] == ["zoe", "alloy"]
        assert engine.info.sample_rate is None
        await spoken(engine)
    assert "Authorization" not in server.asked[0].request.headers
    assert "instructions" not in server.asked[0].body
    assert (server.asked[0].body["voice"], server.asked[0].body["response_format"]) == ("zoe", "mp3")


@pytest.mark.parametrize("format", ["pcm", "mp3"])
async def test_audio_is_passed_on_while_the_server_still_speaks(server: Server, format: str) -> None:
    go_on = asyncio.Event()

    async def in_two(asked: Asked) -> web.StreamResponse:
        response = await asked.begin(PCM, content_type="application/octet-stream")
        await go_on.wait()
        await response.write(PCM)
        return response

    server.answers.append(in_two)
    async with engine_for(server.url, format=format) as (engine, _):
        pieces = engine.speak(EngineRequest("hello"))
        assert await anext(pieces) == PCM
        go_on.set()
        assert b"".join([piece async for piece in pieces]) == PCM


async def test_a_wav_file_is_read_though_samples_were_asked_for(server: Server) -> None:
    server.answers.append(says(wav(PCM), "audio/wav"))
    async with engine_for(server.url) as (engine, _):
        assert await spoken(engine) == PCM


@pytest.mark.parametrize(
    ("answer", "text", "raised"),
    [
        (fails(401, BAD_KEY), "another SYNTH_OPENAI_API_KEY", Draining),
        (fails(429, QUOTA, Retry_After="1"), "nothing left to spend", Draining),
        (fails(404, {"error": {"message": "x", "code": "model_not_found"}}), "SYNTH_OPENAI_MODEL", Draining),
        (fails(404, {"detail": "Not Found"}), "SYNTH_OPENAI_BASE_URL has no /audio/speech", EngineCrashed),
        (says(b"<html>", "text/html"), "leads to a web page", EngineCrashed),
        (says(PCM, "audio/mpeg"), "set SYNTH_OPENAI_FORMAT=mp3", EngineCrashed),
        (says(b"ID3" + PCM), "set SYNTH_OPENAI_FORMAT=mp3", EngineCrashed),
        (says(wav(PCM, rate=16_000)), "set SYNTH_OPENAI_SAMPLE_RATE=16000", EngineCrashed),
    ],
)
async def test_a_fault_of_the_settings_pauses_the_engine(
    server: Server, answer: Answer, text: str, raised: type[SpeechError]
) -> None:
    server.answers.append(answer)
    async with engine_for(server.url) as (engine, throttle):
        with capture_logs() as logs, pytest.raises(raised, match=text):
            await spoken(engine)
        assert throttle.limit == 0
        assert text in str(throttle.paused_for)
        assert throttle.pause_s == attempts.FIRST_PAUSE_S
        assert [log["event"] for log in logs] == ["the engine pauses"]
        assert KEY[:9] not in str(logs)
        with pytest.raises(Draining, match=text):
            await spoken(engine)
        assert len(server.asked) == 1, "nobody is asked meanwhile"


async def test_pauses_grow_until_it_speaks(server: Server) -> None:
    server.answers.extend([fails(401), fails(401), speaks, fails(401)])
    pauses = []
    async with engine_for(server.url) as (engine, throttle):
        for answer in list(server.answers):
            if answer is speaks:
                await spoken(engine)
                continue
            with pytest.raises(Draining):
                await spoken(engine)
            pauses.append(throttle.pause_s)
            throttle.open()
    first_s = attempts.FIRST_PAUSE_S
    assert pauses == [first_s, 2 * first_s, first_s]


async def test_a_fault_of_the_request_is_its_callers_alone(server: Server) -> None:
    error = {"message": "no voice zz", "param": "voice", "code": "unknown_voice"}
    server.answers.extend([fails(400, {"error": error}), fails(422, {"error": {"message": "odd"}})])
    async with engine_for(server.url) as (engine, throttle):
        with pytest.raises(UnknownVoice, match="no voice zz"):
            await spoken(engine, voice="zz")
        with pytest.raises(EngineFailed, match="odd"):
            await spoken(engine)
        assert await spoken(engine) == PCM
        assert throttle.limit == 1


async def test_a_redirect_is_not_followed_and_no_key_goes_there(server: Server) -> None:
    async with serving(Server()) as elsewhere:
        server.answers.append(fails(307, Location=f"{elsewhere.url}/audio/speech"))
        server.probes["audio/speech"] = fails(308, Location=f"{elsewhere.url}/audio/speech")
        async with engine_for(server.url) as (engine, _):
            with pytest.raises(EngineCrashed, match="SYNTH_OPENAI_BASE_URL"):
                await spoken(engine)
            with pytest.raises(EngineUnavailable, match=f"{elsewhere.url}/audio/speech"):
                await engine.probe()
        assert elsewhere.heads == []


async def test_a_busy_server_is_asked_again_when_it_says_and_less_is_offered(server: Server) -> None:
    server.answers.extend(
        [fails(429, Retry_After="9", Retry_After_Ms="150"), fails(503, Retry_After_Ms="80")]
    )
    async with engine_for(server.url, slots=4) as (engine, throttle):
        with capture_logs() as logs:
            assert await spoken(engine) == PCM
        assert throttle.limit == 1
    first, second, third = (asked.at_s for asked in server.asked)
    assert second - first >= 0.15
    assert third - second >= 0.08
    assert logs[0]["event"] == "the engine's server refuses; fewer slots are offered"


async def test_a_long_wait_is_a_pause(server: Server) -> None:
    server.answers.append(fails(429, Retry_After="900"))
    async with engine_for(server.url) as (engine, throttle):
        with pytest.raises(Draining, match="429"):
            await spoken(engine)
        assert throttle.pause_s == 900


@pytest.mark.parametrize("answer", [fails(500, {"error": {"message": "say hello"}}), says(b""), fails(408)])
async def test_a_failing_server_is_asked_a_few_times(server: Server, answer: Answer) -> None:
    server.answers.extend([answer] * 5)
    async with engine_for(server.url, attempts=3) as (engine, throttle):
        with capture_logs() as logs, pytest.raises(EngineCrashed):
            await spoken(engine)
        assert len(server.asked) == 3
        assert "hello" not in str(logs), "a server's words may repeat the text"
        assert throttle.limit == 1, "the text may be at fault: others are spoken"
        server.answers.popleft()
        assert await spoken(engine) == PCM


async def test_a_key_in_a_servers_words_is_struck_out(server: Server) -> None:
    server.answers.append(fails(500, {"error": {"message": f"no route for {KEY}"}}))
    async with engine_for(server.url, attempts=1) as (engine, _):
        with pytest.raises(EngineCrashed, match=r"no route for \*\*\*"):
            await spoken(engine)


async def test_audio_that_breaks_off_is_a_failure_and_not_begun_anew(server: Server) -> None:
    async def breaks(asked: Asked) -> web.StreamResponse:
        response = await asked.begin(PCM)
        await reader.wait()
        asked.cut()
        return response

    reader = asyncio.Event()
    server.answers.append(breaks)
    async with engine_for(server.url, attempts=5) as (engine, _):
        pieces = engine.speak(EngineRequest("hello"))
        assert await anext(pieces) == PCM
        reader.set()
        with pytest.raises(EngineCrashed, match="broke"):
            await anext(pieces)
    assert len(server.asked) == 1


async def test_a_file_shorter_than_it_says_is_a_failure(server: Server) -> None:
    server.answers.append(says(wav(PCM)[:-2]))
    async with engine_for(server.url) as (engine, _):
        with pytest.raises(EngineCrashed, match="ended early"):
            await spoken(engine)


@pytest.mark.parametrize("begun", [False, True])
async def test_a_silent_server_is_left_after_a_while(server: Server, *, begun: bool) -> None:
    async def stalls(asked: Asked) -> web.StreamResponse:
        if begun:
            await asked.begin(PCM)
        await asyncio.Event().wait()
        raise AssertionError

    server.answers.extend([stalls] * 2)
    async with engine_for(server.url, idle_s=0.05, attempts=2) as (engine, _):
        with pytest.raises(EngineCrashed, match="took too long"):
            await spoken(engine)
    assert len(server.asked) == (1 if begun else 2)
    await asyncio.wait_for(server.asked[-1].gone.wait(), GUARD_S)


async def test_one_attempt_is_bounded_as_a_whole(server: Server) -> None:
    async def drips(asked: Asked) -> web.StreamResponse:
        response = await asked.begin()
        while True:
            await response.write(b"\0\0")
            await asyncio.sleep(0.01)

    server.answers.append(drips)
    async with engine_for(server.url, total_s=0.1) as (engine, _):
        with pytest.raises(EngineCrashed, match="took too long"):
            await spoken(engine)


async def test_leaving_early_leaves_the_server(server: Server) -> None:
    async def endless(asked: Asked) -> web.StreamResponse:
        response = await asked.begin()
        while True:
            await response.write(PCM)

    server.answers.append(endless)
    async with engine_for(server.url) as (engine, _):
        async with aclosing(engine.speak(EngineRequest("hello"))) as pieces:
            await anext(pieces)
        await asyncio.wait_for(server.asked[0].gone.wait(), GUARD_S)
        assert await spoken(engine) == PCM


async def test_the_server_gets_as_many_at_once_as_there_are_slots_and_never_more(server: Server) -> None:
    server.answers.extend([speaks_together(server, 3)] * 12)
    async with engine_for(server.url, slots=3) as (engine, _), asyncio.TaskGroup() as tasks:
        speaking = [tasks.create_task(spoken(engine)) for _ in range(12)]
    assert [each.result() for each in speaking] == [PCM] * 12
    assert server.most_open == 3
