"""A text that the server dislikes is its caller's trouble alone; settings that went wrong are everybody's."""

from __future__ import annotations

import asyncio
import re

import pytest
from structlog.testing import capture_logs

from antiphon.client import TtsClient
from antiphon.errors import Draining, EngineCrashed, EngineFailed, InvalidRequest, SpeechError
from antiphon.subjects import Subjects
from synth_node.engines.openai.settings import OpenAISettings
from tests.synth_node.conftest import running_node, settings_of
from tests.synth_node.network.support import spoken
from tests.synth_node.openai.support import (
    KEY,
    PCM,
    Answer,
    Server,
    engine_for,
    fails,
    says,
    speaks,
    speaks_together,
)
from tests.synth_node.openai.test_samples import wav

FORBIDDEN = says(b"<html>Request blocked</html>", "text/html", 403)
POLICY = fails(403, {"error": {"message": "not nice", "code": "content_policy_violation"}})
ODD = {
    "forbidden": FORBIDDEN,
    "a web page": says(b"<html>", "text/html"),
    "redirected": fails(302, Location="/blocked"),
    "not found": fails(404, {"error": {"message": "no such model of a voice"}}),
    "another rate": says(PCM, "audio/pcm; rate=8000"),
    "another rate in a file": says(wav(PCM, rate=8000)),
    "another format": says(PCM, "audio/mpeg"),
    "another format by its bytes": says(b"OggS" + PCM),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_where_others_were_spoken_an_odd_answer_is_one_callers(server: Server, odd: Answer) -> None:
    server.answers.extend([speaks, odd, odd])
    async with engine_for(server.url) as (engine, throttle):
        await spoken(engine)
        for _ in range(2):
            with capture_logs() as logs, pytest.raises(EngineFailed, match="other texts are spoken"):
                await spoken(engine, "a secret")
            assert [log["event"] for log in logs] == ["the engine's server refuses one text"]
            assert "secret" not in str(logs)
        assert throttle.paused_for is None
        assert await spoken(engine) == PCM


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_where_nothing_was_spoken_since_the_probe_it_is_a_fault_of_the_settings(
    server: Server, odd: Answer
) -> None:
    server.answers.extend([speaks, odd])
    async with engine_for(server.url) as (engine, throttle):
        await spoken(engine)
        await engine.probe()
        with pytest.raises(EngineCrashed):
            await spoken(engine)
        assert throttle.paused_for is not None


async def test_a_key_that_may_speak_no_more_pauses_the_engine_though_it_has_spoken(server: Server) -> None:
    server.answers.extend([speaks, FORBIDDEN])
    server.probes["audio/speech"] = FORBIDDEN
    async with engine_for(server.url) as (engine, throttle):
        await spoken(engine)
        with pytest.raises(EngineCrashed, match="SYNTH_OPENAI_API_KEY may not do this"):
            await spoken(engine)
        assert throttle.paused_for is not None


@pytest.mark.parametrize("status", [401, 402])
async def test_a_key_or_an_account_that_is_refused_is_believed_at_once(server: Server, status: int) -> None:
    server.answers.extend([speaks, fails(status)])
    async with engine_for(server.url) as (engine, throttle):
        await spoken(engine)
        with pytest.raises(Draining):
            await spoken(engine)
        assert throttle.paused_for is not None
    assert len(server.heads) == 2, "nothing else was asked"


async def test_what_a_policy_forbids_is_the_callers_even_if_it_is_the_first(server: Server) -> None:
    server.answers.append(POLICY)
    async with engine_for(server.url) as (engine, throttle):
        with pytest.raises(InvalidRequest, match="not nice") as caught:
            await spoken(engine)
        assert caught.value.param == "text"
        assert throttle.paused_for is None


@pytest.mark.parametrize("odd", [FORBIDDEN, POLICY])
async def test_one_text_does_not_stop_the_nodes_one_after_the_other(
    server: Server, nats_url: str, subjects: Subjects, client: TtsClient, odd: Answer
) -> None:
    server.answers.extend([speaks_together(server, 2)] * 2)
    own = OpenAISettings(base_url=server.url, voices="zoe")
    settings = settings_of(nats_url, subjects, engine="openai")
    async with running_node(nats_url, settings, own), running_node(nats_url, settings, own):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(2):
                tasks.create_task(client.speak("hello", model="m"))
        server.answers.extend([odd] * 4)
        with pytest.raises(SpeechError) as caught:
            await client.speak("bad words", model="m")
        assert type(caught.value) in (EngineFailed, InvalidRequest)
        assert len(server.asked) == 3, "no other node was asked"
        server.answers.clear()
        assert await client.speak("hello", model="m")


@pytest.mark.parametrize(
    ("content_type", "said"),
    [
        ("application/json", "the server answered application/json where audio was asked for: no memory"),
        ("audio/pcm", "the server answered text where audio was asked for: no memory for ***"),
        ("application/octet-stream", "the server answered text where audio was asked for"),
    ],
)
async def test_an_error_that_is_called_a_success_is_one_with_the_words_of_the_server(
    server: Server, content_type: str, said: str
) -> None:
    server.answers.append(says(b'{"error": {"message": "no memory for %s"}}' % KEY.encode(), content_type))
    async with engine_for(server.url) as (engine, throttle):
        with pytest.raises(EngineFailed, match=re.escape(said)):
            await spoken(engine)
        assert throttle.paused_for is None
        assert await spoken(engine) == PCM
