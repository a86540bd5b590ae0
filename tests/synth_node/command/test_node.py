"""The engine `command` in whole nodes over NATS, with programs of the test's and with flite."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path

import psutil
import pytest

from antiphon.client import TtsClient
from antiphon.errors import AttemptsExhausted, EngineFailed, SpeechError
from antiphon.subjects import Subjects
from tests.conftest import StartNode, node_environment, until_ready
from tests.synth_node.conftest import GUARD_S, RawCaller, soon
from tests.synth_node.support_sound import encoded, ffmpeg_decoded, loudness, tone
from tests.synth_node.test_main import ended, is_alive, last_sentence

flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


async def test_a_program_is_a_model_of_the_group(
    start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    (tmp_path / "sound.wav").write_bytes(encoded("wav", tone(1.5, 16_000), 16_000))
    await start_node(
        engine="command", command=f"cat {tmp_path}/sound.wav", command_voices="anna=Anna/de,", slots=2
    )
    await until_ready(client)
    assert [(v.id, v.name, v.language) for v in await client.voices("command")] == [("anna", "Anna", "de")]
    samples = ffmpeg_decoded(await client.speak("hello", model="command"), 16_000)
    assert len(samples) == pytest.approx(1.5 * 16_000, rel=0.05)
    assert loudness(samples) > 5000


async def test_a_program_that_fails_tells_the_caller_and_not_the_log(
    start_node: StartNode, client: TtsClient, raw: RawCaller
) -> None:
    script = 'echo cannot say "$1" > /dev/stderr; case $1 in crash*) kill -9 $$;; esac; exit 4'
    node = await start_node(engine="command", model="m", command=f"sh -c '{script}' sh {{text}}")
    await until_ready(client)
    with pytest.raises(EngineFailed, match="sh ended with exit status 4: cannot say this"):
        await client.speak("this", model="m", timeout_s=GUARD_S)
    with pytest.raises(AttemptsExhausted):
        await client.speak("crash", model="m", timeout_s=GUARD_S)
    crashed = await raw.ask_when_free(b"crash")
    assert (crashed.headers or {})["Tts-Error"] == "engine_crashed"
    node.send_signal(signal.SIGTERM)
    assert await node.wait() == 0
    ours = [line for line in node.lines if "engine output" not in line]
    assert any("engine_failed" in line for line in ours)
    assert not [line for line in ours if "cannot say" in line], "only what the program itself prints"


async def test_no_program_outlives_a_node_that_was_killed(
    start_node: StartNode, client: TtsClient, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    script = tmp_path / "speak"
    script.write_text(f"#!/bin/sh\nsetsid -w true; timeout 600 sleep 600 &\necho $$ $! > {pids}\nwait\n")
    script.chmod(0o755)
    node = await start_node(engine="command", model="m", command=script)
    await until_ready(client)
    speaking = asyncio.create_task(client.speak("hello", model="m", timeout_s=60))
    await soon(lambda: pids.exists() and len(pids.read_text().split()) == 2, "it speaks")
    started = psutil.Process(node.pid).children(recursive=True)
    assert {int(pid) for pid in pids.read_text().split()} < {process.pid for process in started}
    node.send_signal(signal.SIGKILL)
    await node.wait()
    await soon(lambda: not any(map(is_alive, started)), "all are gone")
    speaking.cancel()
    await asyncio.wait({speaking})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "SYNTH_COMMAND: the engine `command` needs a program"),
        ({"command": "no-such-program"}, "SYNTH_COMMAND: there is no program 'no-such-program'"),
        ({"command": "cat {txt}"}, "SYNTH_COMMAND: '{txt}' has a placeholder that is not known"),
        ({"command": "cat", "comand": "x"}, "SYNTH_COMAND is no setting"),
        ({"command": "cat", "command_voices": "a", "voice": "b"}, "command has no voice 'b'"),
    ],
)
async def test_a_command_that_cannot_work_ends_the_node(
    nats_url: str, subjects: Subjects, settings: dict[str, str], sentence: str
) -> None:
    status, said = await ended(node_environment(nats_url, subjects, engine="command", **settings))
    assert status == 2, said
    assert sentence in last_sentence(said)


@flite
@pytest.mark.parametrize(
    "command",
    [
        "flite -voice {voice} --setf duration_stretch={length_scale} -t {text} -o /dev/stdout",
        "flite -voice {voice} --setf duration_stretch={length_scale} -f /dev/stdin -o {output}",
    ],
)
async def test_flite_speaks(start_node: StartNode, client: TtsClient, command: str) -> None:
    await start_node(engine="command", model="flite", command=command, command_voices="slt,kal=Kal/en-US")
    await until_ready(client)
    text = 'One sentence is spoken here. And this one\'s "quoted", with $(id) and 100%.'
    lengths = []
    for options in ({}, {"voice": "kal"}, {"speed": 2.0}):
        samples = ffmpeg_decoded(await client.speak(text, model="flite", **options), 16_000)
        assert loudness(samples) > 500
        lengths.append(len(samples) / 16_000)
    assert 4 < lengths[0] < 12
    assert lengths[2] == pytest.approx(lengths[0] / 2, rel=0.25)
    assert (await client.speak("-version", model="flite"))[:2] == b"\xff\xf3"
    with pytest.raises(SpeechError, match="nobody"):
        await client.speak(text, model="flite", voice="nobody")
