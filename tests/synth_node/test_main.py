"""`python -m synth_node` as a process: why it ends, and that it ends tidily."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from antiphon.client import TtsClient
from antiphon.errors import SpeechError
from antiphon.subjects import Subjects
from tests.conftest import NatsServer, StartNode, node_environment, node_process, until_ready
from tests.synth_node.conftest import FAULTS, GUARD_S, soon

SECRETS = {"XUNFEI_APP_ID": "a", "XUNFEI_API_KEY": "b", "XUNFEI_API_SECRET": "c"}
SERVER = {"SYNTH_OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}


async def ended(environment: dict[str, str]) -> tuple[int, str]:
    """Run a node that ends by itself; return its exit status and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "synth_node"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(GUARD_S):
        output, errors = await process.communicate()
    assert output == b""
    assert process.returncode is not None
    return process.returncode, errors.decode()


def last_sentence(said: str) -> str:
    assert "Traceback" not in said, said
    return said.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SYNTH_SLOTS", "0"),
        ("SYNTH_SLOT", "2"),
        ("SYNTH_PROCESSES", "2"),
        ("SYNTH_MODEL", "a.b"),
        ("SYNTH_PYTHON", "/does/not/exist"),
        ("SYNTH_SLOT_ENV", "CUDA_VISIBLE_DEVICES"),
        ("LOG_LEVEL", "loud"),
        ("NATS_URL", "nats://user:hunter2@host:port"),
        ("NATS_URL_FILE", "/does/not/exist"),
    ],
)
async def test_a_bad_setting_is_one_sentence_and_status_2(subjects: Subjects, name: str, value: str) -> None:
    environment = {**node_environment("nats://127.0.0.1:1", subjects), name: value}
    status, said = await ended(environment)
    assert status == 2
    assert name in last_sentence(said)
    assert len(said.splitlines()) == 1, said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("engine", "own"),
    [
        ("xunfei", SECRETS),
        ("xunfei", {**SECRETS, "XUNFEI_VOICES": "anna,ben=Ben"}),
        ("openai", {**SERVER, "SYNTH_OPENAI_VOICES": "anna,ben"}),
    ],
)
async def test_a_default_voice_that_the_settings_do_not_have_is_told_at_once(
    subjects: Subjects, engine: str, own: dict[str, str]
) -> None:
    environment = node_environment("nats://127.0.0.1:1", subjects, engine=engine, voice="nobody")
    status, said = await ended({**environment, **own})
    assert status == 2
    assert last_sentence(said).startswith("SYNTH_VOICE: there is no voice 'nobody' among "), said
    assert len(said.splitlines()) == 1, said


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"engine": "no_such_module:tts_api"}, "no_such_module"),
        ({"engine": "nonsense"}, "nonsense"),
        ({"engine": f"{FAULTS}_not"}, "misbehave_not"),
        ({"engine": "json:decoder", "slots": 2}, "json:decoder|engine"),
        ({"engine": "tone", "voice": "nobody"}, "nobody"),
        ({"engine": "tone", "slots": 4, "processes": 2}, "tone has no synthesize_batch: SYNTH_PROCESSES"),
    ],
)
async def test_an_engine_that_cannot_start_is_one_sentence_and_status_2(
    nats_url: str, subjects: Subjects, settings: dict[str, Any], word: str
) -> None:
    status, said = await ended(node_environment(nats_url, subjects, **settings))
    assert status == 2, said
    assert any(each in last_sentence(said) for each in word.split("|")), said


async def test_refused_credentials_end_it_with_status_1(
    own_nats_server: NatsServer, subjects: Subjects, tmp_path: Path
) -> None:
    own_nats_server.stop()
    config = tmp_path / "auth.conf"
    config.write_text('authorization { token: "right" }\n')
    port = own_nats_server.url.rpartition(":")[2]
    binary = Path(sys.executable).parent / "nats-server"
    server = await asyncio.create_subprocess_exec(
        *(str(binary), "-c", str(config), "-a", "127.0.0.1", "-p", port),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        status, said = await ended(
            node_environment(f"nats://hunter2@127.0.0.1:{port}", subjects, engine="tone")
        )
    finally:
        server.terminate()
        await server.wait()
    assert status == 1
    assert "Traceback" not in said
    assert "hunter2" not in said


async def test_sigterm_drains(start_node: StartNode, client: TtsClient) -> None:
    node = await start_node(engine=FAULTS, model="m")
    await until_ready(client)
    speaking = asyncio.create_task(client.speak("sleep 0.5", model="m"))
    await soon(lambda: is_busy(client), "it speaks")
    node.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(speaking, GUARD_S), "what runs is finished"
    assert await node.wait() == 0
    assert not client.can_speak(), "it said good-bye"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_node_ends_at_once_and_tidily(
    start_node: StartNode, client: TtsClient, signum: signal.Signals
) -> None:
    node = await start_node(slots=2)
    await until_ready(client)
    children = psutil.Process(node.pid).children(recursive=True)
    assert len(children) == 2
    node.send_signal(signum)
    assert await node.wait() == 0
    assert "Traceback" not in node.log
    await soon(lambda: not any(map(psutil.Process.is_running, children)), "its engines have ended")


async def test_a_second_signal_ends_it_at_once(start_node: StartNode, client: TtsClient) -> None:
    node = await start_node(engine=FAULTS, model="m", grace_s=600)
    await until_ready(client)
    children = psutil.Process(node.pid).children(recursive=True)
    speaking = asyncio.create_task(client.speak("hang", model="m", timeout_s=60))
    await soon(lambda: is_busy(client), "it speaks")
    node.send_signal(signal.SIGTERM)
    await soon(lambda: "draining" in node.log, "it drains")
    node.send_signal(signal.SIGTERM)
    assert await node.wait() == 128 + signal.SIGTERM
    await soon(lambda: not any(map(psutil.Process.is_running, children)), "its engines have ended")
    speaking.cancel()
    with pytest.raises((asyncio.CancelledError, SpeechError)):
        await speaking


@pytest.mark.parametrize("deed", ["fine", "hang", "hang_in_c"])
async def test_no_engine_outlives_a_node_that_was_killed(
    start_node: StartNode, client: TtsClient, deed: str
) -> None:
    node = await start_node(engine=FAULTS, model="m", slots=2)
    await until_ready(client)
    children = psutil.Process(node.pid).children(recursive=True)
    assert len(children) == 2
    speaking = asyncio.create_task(client.speak(deed, model="m", timeout_s=60))
    if deed != "fine":
        await soon(lambda: is_busy(client), "it speaks")
    node.send_signal(signal.SIGKILL)
    await node.wait()
    await soon(lambda: not any(is_alive(child) for child in children), "its engines have ended")
    speaking.cancel()
    await asyncio.wait({speaking})


async def test_it_waits_for_a_server_and_can_be_stopped_meanwhile(
    own_nats_server: NatsServer, subjects: Subjects
) -> None:
    own_nats_server.stop()
    async with node_process(own_nats_server.url, subjects) as node:
        await soon(lambda: "no NATS server yet" in node.log, "it says what it waits for")
        node.send_signal(signal.SIGTERM)
        assert await node.wait() == 0
        assert "Traceback" not in node.log


async def test_it_comes_back_to_a_server_that_was_restarted(
    own_nats_server: NatsServer, subjects: Subjects
) -> None:
    from antiphon.client import connect

    async with node_process(own_nats_server.url, subjects) as node:
        for _ in range(2):
            async with connect(own_nats_server.url, subjects=subjects, within_s=GUARD_S) as tts:
                await until_ready(tts)
                assert await tts.speak("hello", model="tone")
            own_nats_server.stop()
            own_nats_server.start()
        node.send_signal(signal.SIGTERM)
        assert await node.wait() == 0


async def test_what_it_logs_holds_nothing_of_a_callers_text(start_node: StartNode, client: TtsClient) -> None:
    node = await start_node(engine=FAULTS, model="m", slots=1)
    await until_ready(client)
    for text in ("fine", "raise SECRET", "exit 3", "unknown SECRET"):
        with suppress(SpeechError):
            await client.speak(text, model="m", timeout_s=GUARD_S)
    node.send_signal(signal.SIGTERM)
    assert await node.wait() == 0
    assert "engine_failed" in node.log
    assert "SECRET" not in node.log
    assert "exit 3" not in node.log


async def test_its_state_is_in_a_file_for_the_health_check(
    start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    path = tmp_path / "state"
    node = await start_node(state_file=path)
    await until_ready(client)

    def state() -> dict[str, Any]:
        return dict(json.loads(path.read_text())) if path.exists() else {}

    await soon(lambda: state().get("state") == "ready", "it is ready")
    assert state()["connected"] is True
    node.send_signal(signal.SIGTERM)
    assert await node.wait() == 0
    assert state()["state"] == "left"
    assert os.listdir(tmp_path) == ["state"]


def is_busy(tts: TtsClient) -> bool:
    now = asyncio.get_running_loop().time()
    return any(seen.heartbeat.busy for seen in tts.cluster.nodes(now))


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
