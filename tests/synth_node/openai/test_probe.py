"""Where the server is and who we are to it: lists, keys, proxies, and a server that is away for a while."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import encode_basic_auth, web
from structlog.testing import capture_logs

from antiphon.client import TtsClient
from antiphon.errors import Draining
from antiphon.subjects import Subjects
from synth_node.engines.openai.engine import OpenAI
from synth_node.engines.openai.settings import OpenAISettings
from synth_node.host import EngineUnavailable
from synth_node.network import attempts
from synth_node.network.engine import Unreachable
from synth_node.network.host import Network, NetworkHost
from tests.synth_node.conftest import running_node, settings_of, soon
from tests.synth_node.network.support import spoken
from tests.synth_node.openai.support import (
    KEY,
    PCM,
    Answer,
    Asked,
    Server,
    engine_for,
    fails,
    held_port,
    says,
    serving,
    speaks,
)


async def test_a_server_that_is_away_is_probed_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "RETURN_S", 0.01)
    monkeypatch.setattr("synth_node.network.host.MIN_PROBE_S", 0.01)
    monkeypatch.setattr("synth_node.network.host.MAX_PROBE_S", 0.01)
    with held_port() as port:
        await _is_away_and_comes_back(Server(), port)


async def _is_away_and_comes_back(server: Server, port: int) -> None:
    async with engine_for(f"http://127.0.0.1:{port}/v1", probed=False) as (engine, throttle):
        network = Network(engine, throttle, lambda info: None)
        keeping = asyncio.create_task(network.keep_open())
        with capture_logs() as logs:
            await soon(lambda: len(logs) > 1, "it was probed in vain, twice")
        assert {log["reason"] for log in logs} == {
            "no connection to the server of SYNTH_OPENAI_BASE_URL: Connection refused"
        }
        async with serving(server, port), NetworkHost(network, slot=0, voice=None) as host:
            await host.ready()
            assert await spoken(engine) == PCM
        with pytest.raises(Draining, match="no connection to the server of SYNTH_OPENAI_BASE_URL"):
            await spoken(engine)
        assert throttle.limit == 0
        async with serving(server, port):
            await soon(lambda: throttle.limit == 1, "it was found again")
            assert await spoken(engine) == PCM
        keeping.cancel()


async def test_a_server_without_tls_is_known_as_one(server: Server) -> None:
    async with engine_for(server.url.replace("http:", "https:")) as (engine, _):
        with pytest.raises(Unreachable, match="it speaks no TLS there, or none that we know"):
            await engine.probe()


async def test_the_voices_are_those_that_the_server_lists(server: Server) -> None:
    server.probes["audio/voices"] = says(b'{"voices": [{"id": "anna", "name": "Anna"}, "ben"]}')
    async with engine_for(server.url, model="m 1", format="mp3") as (engine, _):
        await engine.probe()
        assert [(voice.id, voice.name) for voice in engine.info.voices] == [("anna", "Anna"), ("ben", "")]
        await spoken(engine)
    assert server.asked[0].body["voice"] == "anna", "its first one, for it has no alloy"
    nothing, voices, _ = server.heads
    assert await nothing.json() == {"model": "m 1", "input": "", "response_format": "mp3"}
    assert voices.query["model"] == "m 1"
    assert all(head.headers["Authorization"] == f"Bearer {KEY}" for head in server.heads)


async def test_no_list_is_asked_for_if_the_settings_name_the_voices(server: Server) -> None:
    async with engine_for(server.url, voices="zoe") as (engine, _):
        await engine.probe()
        assert [voice.id for voice in engine.info.voices] == ["zoe"]
    assert len(server.heads) == 1


@pytest.mark.parametrize("speech", [fails(400), fails(422), fails(500), says(b"{}", "text/plain"), speaks])
@pytest.mark.parametrize(
    "voices", [fails(401), fails(404), fails(500), says(b"[" * 10_000), says(b"x" * 2_000_000)]
)
async def test_a_server_may_refuse_to_say_nothing_and_have_no_list(
    server: Server, speech: Answer, voices: Answer
) -> None:
    server.probes.update({"audio/speech": speech, "audio/voices": voices})
    async with engine_for(server.url) as (engine, _):
        await engine.probe()
        assert "alloy" in [voice.id for voice in engine.info.voices]
        await spoken(engine)
    assert server.asked[0].body["voice"] == "alloy"


@pytest.mark.parametrize(
    ("speech", "text"),
    [
        (fails(401), "the server wants another SYNTH_OPENAI_API_KEY"),
        (fails(402), "SYNTH_OPENAI_API_KEY has nothing left"),
        (fails(404), "SYNTH_OPENAI_BASE_URL has no /audio/speech behind it"),
        (fails(404, {"error": {"code": "model_not_found"}}), "SYNTH_OPENAI_MODEL is not known there"),
        (says(b"<html>", "text/html"), "SYNTH_OPENAI_BASE_URL leads to a web page"),
        (says(b"", "audio/mpeg"), "set SYNTH_OPENAI_FORMAT=mp3"),
    ],
)
async def test_a_probe_finds_faults_of_the_settings(server: Server, speech: Answer, text: str) -> None:
    server.probes["audio/speech"] = speech
    async with engine_for(server.url) as (engine, _):
        with pytest.raises(EngineUnavailable, match=text):
            await engine.probe()


@pytest.mark.parametrize("path", ["audio/speech", "audio/voices"])
@pytest.mark.parametrize("status", [429, 502, 503])
async def test_a_probe_comes_again_to_a_server_that_fails_or_is_busy(
    server: Server, path: str, status: int
) -> None:
    server.probes[path] = fails(status, {"error": "loading the model"})
    async with engine_for(server.url) as (engine, _):
        with pytest.raises(Unreachable, match=f"{status}: loading the model"):
            await engine.probe()


async def test_a_key_that_was_changed_is_read_by_the_next_probe(server: Server, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-zero")
    async with engine_for(server.url, probed=False, api_key_file=str(file)) as (engine, throttle):
        file.unlink()
        with pytest.raises(EngineUnavailable, match="SYNTH_OPENAI_API_KEY_FILE"):
            await engine.probe()
        for key in ("sk-old", "sk-new"):
            file.write_text(key)
            await engine.probe()
            throttle.open()
            await spoken(engine)
    assert [asked.request.headers["Authorization"] for asked in server.asked] == [
        "Bearer sk-old",
        "Bearer sk-new",
    ]


async def test_a_password_file_does_not_come_between(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("default login me password hunter3\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with engine_for(server.url) as (engine, _):
        assert await spoken(engine) == PCM
    assert server.asked[0].request.headers["Authorization"] == f"Bearer {KEY}"


async def test_a_proxy_of_the_environment_is_used_and_its_password_not_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = server.url.removeprefix("http://").removesuffix("/v1")
    monkeypatch.setenv("http_proxy", f"http://me:hunter3@{address}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with engine_for("http://speech.invalid/v1") as (engine, _):
        assert await spoken(engine) == PCM
    head = server.asked[0].request
    assert head.headers["Host"] == "speech.invalid"
    assert head.headers["Proxy-Authorization"] == encode_basic_auth("me", "hunter3")
    monkeypatch.setenv("http_proxy", "http://me:hunter3@127.0.0.1:1")
    async with engine_for("http://speech.invalid/v1") as (engine, throttle):
        with pytest.raises(Draining, match="no connection") as caught:
            await spoken(engine)
        assert "hunter3" not in f"{caught.value} {throttle.paused_for}"
    monkeypatch.setenv("http_proxy", address)
    async with engine_for("http://speech.invalid/v1") as (engine, _):
        assert await spoken(engine) == PCM
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    async with engine_for(server.url) as (engine, _):
        assert await spoken(engine) == PCM


async def test_voices_that_the_server_has_anew_are_told_to_the_group(
    server: Server,
    nats_url: str,
    subjects: Subjects,
    client: TtsClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "FIRST_PAUSE_S", 0.01)
    server.probes["audio/voices"] = says(b'["anna"]')
    own = OpenAISettings(base_url=server.url)
    async with running_node(nats_url, settings_of(nats_url, subjects, engine="openai"), own) as node:
        assert [voice.id for voice in await client.voices("m")] == ["anna"]
        server.probes["audio/voices"] = says(b'["anna", "ben"]')
        server.answers.append(fails(402))
        assert await client.speak("hello", model="m", voice="anna"), "it is spoken after the pause"
        now = asyncio.get_running_loop().time
        beats = client.cluster.nodes
        await soon(
            lambda: beats(now())[0].heartbeat.voices_hash == node.voices_hash, "a heartbeat tells of it"
        )
        assert [voice.id for voice in await client.voices("m")] == ["anna", "ben"]
        assert await client.speak("hello", model="m", voice="ben")


async def test_no_probe_is_under_way_any_more_when_the_engine_closes(
    server: Server, nats_url: str, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes: list[str] = []

    class Watched(OpenAI):
        async def probe(self) -> None:
            probes.append("begun")
            try:
                await super().probe()
            finally:
                probes.append("over")

        async def __aexit__(self, *exc_info: object) -> None:
            probes.append("closed")
            await super().__aexit__(*exc_info)

    async def silent(asked: Asked) -> web.StreamResponse:
        await asked.gone.wait()
        return web.Response()

    monkeypatch.setattr("synth_node.engines.openai.engine.OpenAI", Watched)
    own = OpenAISettings(base_url=server.url)
    async with running_node(nats_url, settings_of(nats_url, subjects, engine="openai"), own) as node:
        server.probes["audio/speech"] = silent
        engine = node.hosts._network
        assert engine is not None
        engine.throttle.pause("for the test", for_s=0.0)
        await soon(lambda: len(probes) == 3, "it is probed again")
    assert probes == ["begun", "over", "begun", "over", "closed"]
