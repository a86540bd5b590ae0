"""The engine `command` with real programs: what they are given, what they give, how they fail and end."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import tempfile
import wave
from contextlib import aclosing
from pathlib import Path
from typing import Any

import psutil
import pytest
from structlog.testing import capture_logs

from antiphon.errors import (
    BadAudio,
    EngineCrashed,
    EngineFailed,
    InvalidRequest,
    NothingToSpeak,
    SpeechError,
    TextTooLong,
    UnknownVoice,
)
from antiphon.request import SpeechRequest
from synth_node.engines.command_line import split_command
from synth_node.synthesizer import EncodedAudio, EngineUnavailable, Synthesizer
from tests.synth_node.conftest import GUARD_S, soon
from tests.synth_node.support_engine import synthesizer_of
from tests.synth_node.support_sound import decoded, encoded, loudness, tone

RATE = 16_000
TELL = """
said=$({}; printf .)
printf %s "$said"
[ $(($(printf %s "$said" | wc -c) % 2)) = 0 ] || printf ' '
"""
"""What something says as samples, an even number of bytes: a test can read there what a program was given."""
TELL_ARGUMENTS = TELL.format("printf '<%s>' \"$@\"")


def speaker(command: str, *, raw: bool = True, voices: tuple[str, ...] = (), **options: Any) -> Synthesizer:
    """Return what speaks with a command. raw: it gives samples at RATE, else a file."""
    settings = {
        "command": split_command(command),
        "voices": [(voice, voice, "") for voice in voices],
        "sample_rate": RATE if raw else None,
    }
    return synthesizer_of("command", settings=settings, segment_characters=0, **options)


def script(code: str, *arguments: str) -> str:
    """Return the command that runs `code` in a shell, with `arguments` as templates."""
    return shlex.join(["sh", "-c", code.replace("{", "{{").replace("}", "}}"), "sh", *arguments])


async def said(
    synthesizer: Synthesizer, text: str = "hello", *, format: Any = "pcm", **options: Any
) -> bytes:
    """Return the audio of a text; as pcm it is the bytes that a program gave as its samples."""
    data = b""
    async with asyncio.timeout(GUARD_S):
        async for piece in synthesizer.speak(SpeechRequest(text, format=format, **options)):
            if isinstance(piece, EncodedAudio):
                data += piece.data
    return data


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory for temporary files in which nobody else writes."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


@pytest.mark.parametrize(
    "text", ["hello", "$(id) `id`; | > x & ' \" \\", "{voice} {0}", "-rf", "a\0b", "你好, é", "a\nb"]
)
async def test_a_text_is_one_argument_whatever_it_holds(text: str) -> None:
    given = " -rf" if text == "-rf" else text.replace("\0", " ")
    async with speaker(script(TELL_ARGUMENTS, "x", "{text}", "-s{speed}", "{wpm}")) as synthesizer:
        heard = (await said(synthesizer, text, speed=2.0)).decode()
    assert heard.rstrip(". ") == f"<x><{given}><-s2><350>"


@pytest.mark.parametrize("text", ["hello", "-rf", "$(id)", "a\0b", "x" * 300_000, "你好!"])
async def test_a_text_without_a_placeholder_is_the_standard_input(tmp_path: Path, text: str) -> None:
    async with speaker(script("tee $1 | wc -c", str(tmp_path / "input"))) as synthesizer:
        await said(synthesizer, text)
    assert (tmp_path / "input").read_text() == text.replace("\0", " ")


async def test_a_text_beyond_an_argument_is_the_callers_fault() -> None:
    async with speaker(script(TELL_ARGUMENTS, "{text}")) as synthesizer:
        with pytest.raises(TextTooLong) as refused:
            await said(synthesizer, "x" * 131_072)
        assert refused.value.param == "text"
        assert await said(synthesizer)


async def test_a_voice_is_listed_or_harmless() -> None:
    command = script(TELL_ARGUMENTS, "{voice}")
    async with speaker(command, voices=("anna", "ben")) as synthesizer:
        assert [voice.id for voice in synthesizer.info.voices] == ["anna", "ben"]
        assert b"<anna>" in await said(synthesizer)
        assert b"<ben>" in await said(synthesizer, voice="ben")
        with pytest.raises(UnknownVoice):
            await said(synthesizer, voice="carl")
    async with speaker(command) as synthesizer:
        assert b"<any-body_1.2>" in await said(synthesizer, voice="any-body_1.2")
        for voice in ("../x", "-v", "a b", "a/b", "x" * 101):
            with pytest.raises(UnknownVoice):
                await said(synthesizer, voice=voice)
        with pytest.raises(InvalidRequest, match="no default voice") as refused:
            await said(synthesizer)
        assert refused.value.param == "voice"
    async with speaker(command, default_voice="carl") as synthesizer:
        assert b"<carl>" in await said(synthesizer)
    with pytest.raises(EngineUnavailable, match="carl"):
        async with speaker(command, voices=("anna",), default_voice="carl"):
            pass


async def test_a_speed_needs_a_placeholder() -> None:
    async with speaker("printf ab") as synthesizer:
        with pytest.raises(InvalidRequest, match="speed 1 only") as refused:
            await said(synthesizer, speed=1.5)
        assert refused.value.param == "speed"
        assert await said(synthesizer, speed=1.0) == b"ab"


@pytest.mark.parametrize("format", ["wav", "mp3", "flac", "raw"])
@pytest.mark.parametrize("where", ["standard output", "{output}"])
async def test_every_kind_of_audio_is_heard(tmp_path: Path, scratch: Path, format: str, where: str) -> None:
    sound = tone(0.5, RATE)
    (tmp_path / "sound").write_bytes(sound if format == "raw" else encoded(format, sound, RATE))
    command = f"cat {tmp_path}/sound" if where == "standard output" else f"cp {tmp_path}/sound {{output}}"
    async with speaker(command, raw=format == "raw") as synthesizer:
        for _ in range(2):
            samples, rate = decoded(await said(synthesizer, sample_rate=RATE), "pcm", RATE)
            assert len(samples) / rate == pytest.approx(0.5, abs=0.1)
            assert loudness(samples) > 5000
    assert os.listdir(scratch) == [], "nothing is left"


async def test_what_killed_processes_left_is_removed(scratch: Path) -> None:
    for name in ("antiphon-command-x", "antiphon-command-y"):
        (scratch / name).mkdir()
        (scratch / name / "speech.wav").touch()
    async with speaker("cp /dev/null {output}"):
        assert len(os.listdir(scratch)) == 1
    assert os.listdir(scratch) == []


async def test_a_directory_that_somebody_removed_is_made_anew(tmp_path: Path, scratch: Path) -> None:
    (tmp_path / "sound").write_bytes(tone(0.5, RATE))
    code = f'[ "$2" = bad ] && rm -r "$(dirname "$1")" && echo gone >&2 && exit 3; cp {tmp_path}/sound "$1"'
    async with speaker(script(code, "{output}", "{text}")) as synthesizer:
        with pytest.raises(EngineFailed, match="status 3: gone"):
            await said(synthesizer, "bad")
        assert await said(synthesizer, "good") == tone(0.5, RATE)
        shutil.rmtree(scratch)
        with pytest.raises(EngineCrashed, match=r"no place for \{output\}: No such file"):
            await said(synthesizer, "good")
        os.mkdir(scratch)
        assert await said(synthesizer, "good") == tone(0.5, RATE)
        (name,) = os.listdir(scratch)
        shutil.rmtree(scratch / name)
        os.makedirs(scratch / name / "somebody else's")
        assert await said(synthesizer, "good") == tone(0.5, RATE)
    assert os.listdir(scratch) == [name]
    assert os.listdir(scratch / name) == ["somebody else's"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("mkfifo {output}", "it is no file"),
        ("mkdir {output}", "Is a directory"),
        ("ln -s /dev/zero {output}", "it is a link"),
    ],
)
async def test_an_output_that_is_no_file_is_named(command: str, why: str) -> None:
    async with speaker(command) as synthesizer:
        for _ in range(2):
            with pytest.raises(EngineFailed) as failed:
                await said(synthesizer)
            assert str(failed.value).endswith(f"{{output}} cannot be read: {why}")


async def test_the_sound_comes_before_the_program_ends(tmp_path: Path) -> None:
    code = f"head -c 32000 /dev/zero; until [ -e {tmp_path}/go ]; do sleep 0.01; done; printf end."
    async with speaker(script(code)) as synthesizer:
        request = SpeechRequest("hello", format="pcm")
        async with asyncio.timeout(GUARD_S), aclosing(synthesizer.speak(request)) as pieces:
            heard = 0
            async for piece in pieces:
                heard += len(piece.data) if isinstance(piece, EncodedAudio) else 0
                if heard >= 16_000:
                    (tmp_path / "go").touch()
            assert heard == 32_004


@pytest.mark.parametrize(
    ("command", "error", "sentence"),
    [
        (
            script("echo no such voice >&2; exit 3"),
            EngineFailed,
            "sh ended with exit status 3: no such voice",
        ),
        (script("printf abcd; exit 1"), EngineFailed, "sh ended with exit status 1"),
        (script("printf 'a\\t\\033b\\n\\nc' >&2; exit 1"), EngineFailed, "status 1: a b c"),
        (script("echo $1 >&2; kill -SEGV $$", "{text}"), EngineCrashed, "sh died of SIGSEGV: hello"),
        (script("exit 0"), NothingToSpeak, ""),
        (script("exit 0", "{output}"), EngineFailed, "wrote no {output}"),
        ("/dev/null", EngineCrashed, "null cannot be run: Permission denied"),
        ("antiphon-has-no-such-program", EngineCrashed, "cannot be run: No such file or directory"),
    ],
)
async def test_a_failure_is_told_in_the_programs_words(
    command: str, error: type[SpeechError], sentence: str
) -> None:
    async with speaker(command) as synthesizer:
        for _ in range(2):
            with pytest.raises(error) as failed:
                await said(synthesizer)
            assert (
                str(failed.value).endswith(sentence)
                if "status" in sentence
                else sentence in str(failed.value)
            )


async def test_what_is_no_audio_is_an_error() -> None:
    async with speaker("printf nonsense", raw=False) as synthesizer:
        with pytest.raises(BadAudio):
            await said(synthesizer)


@pytest.mark.parametrize("format", ["wav", "mp3", "pcm"])
async def test_audio_that_is_cut_off_does_not_end_well(tmp_path: Path, format: str) -> None:
    with wave.open(f"{tmp_path}/sound", "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "NONE"))
        file.writeframes(tone(2, RATE))
    async with speaker(f"head -c 20044 {tmp_path}/sound", raw=False) as synthesizer:
        with pytest.raises(BadAudio, match="44000 bytes of samples are missing"):
            await said(synthesizer, format=format)


async def test_a_program_may_chatter() -> None:
    line = "x" * 99
    code = f"yes {line} | head -n 5000 >&2; echo why >&2; exit $1"
    with capture_logs() as logs:
        async with speaker(script(code, "{text}")) as synthesizer:
            with pytest.raises(EngineFailed) as failed:
                await said(synthesizer, "1")
            with pytest.raises(NothingToSpeak):
                await said(synthesizer, "0")
            await soon(lambda: any(log.get("line") == line for log in logs), "it is in the log")
    assert str(failed.value).endswith(f"{line} why")
    assert len(str(failed.value)) < 600


async def test_every_message_reaches_the_log() -> None:
    with capture_logs() as logs:
        async with speaker(script("seq 150 >&2")) as synthesizer:
            with pytest.raises(NothingToSpeak):
                await said(synthesizer)
            await soon(lambda: any(log.get("line") == "150" for log in logs), "the last one is in the log")
    assert [log["line"] for log in logs if "line" in log] == [str(number + 1) for number in range(150)]


async def test_a_program_need_not_listen() -> None:
    async with speaker("printf ab") as synthesizer:
        for _ in range(3):
            assert await said(synthesizer, "x" * 1_000_000) == b"ab"


async def test_a_helper_may_finish_the_sound_and_may_not_stay() -> None:
    code = "printf ab; (printf cd; [ $1 = ends ] || exec sleep 600) & exit 0"
    async with speaker(script(code, "{text}")) as synthesizer:
        assert await said(synthesizer, "ends") == b"abcd"
        assert await said(synthesizer, "stays") == b"abcd"
        assert "sleep" not in [each.name() for each in psutil.Process().children(recursive=True)]


async def test_a_helper_that_only_chatters_is_not_waited_for() -> None:
    code = "printf ab; (while :; do echo tick; sleep 0.1; done >&2) & exit 0"
    async with speaker(script(code)) as synthesizer:
        assert await said(synthesizer) == b"ab"


@pytest.mark.parametrize("how", ["in its group", "in a group of its own"])
async def test_a_cancel_ends_the_program_and_its_children(tmp_path: Path, how: str) -> None:
    grandchild = "import os, time; os.setpgid(0, 0); " if how != "in its group" else "import time; "
    pids = tmp_path / "pids"
    grandchild += f"import os; print(os.getpid(), file=open('{pids}', 'a')); time.sleep(600)"
    code = f'echo $$ >> {pids}; {sys.executable} -I -S -c "{grandchild}" & printf ab; wait'
    async with speaker(script(code)) as synthesizer:
        speaking = asyncio.create_task(said(synthesizer))
        await soon(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both run")
        programs = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
        speaking.cancel()
        await asyncio.wait({speaking})
        async with asyncio.timeout(GUARD_S):
            await synthesizer.ready()
        await soon(lambda: not any(map(is_alive, programs)), "they are gone")
        speaking = asyncio.create_task(said(synthesizer))
        await soon(lambda: len(pids.read_text().split()) == 4, "the slot is free")
        speaking.cancel()
        await asyncio.wait({speaking})


async def test_our_variables_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "NATS_URL",
        "SYNTH_X",
        "GATEWAY_API_KEYS",
        "ANTIPHON_NATS_TOKEN",
        "nats_url",
        "XUNFEI_API_KEY",
    ):
        monkeypatch.setenv(name, "SECRET")
    monkeypatch.setenv("OF_THE_PROGRAM", "yes")
    async with speaker(script(TELL.format("env"))) as synthesizer:
        heard = (await said(synthesizer)).decode()
    assert "OF_THE_PROGRAM=yes" in heard
    assert "SECRET" not in heard


async def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    async with speaker(script(f"echo $$ > {tmp_path}/pid; exec sleep 600"), idle_s=0.5) as synthesizer:
        with pytest.raises(EngineCrashed):
            await said(synthesizer)
        pid = int((tmp_path / "pid").read_text())
        await soon(lambda: not psutil.pid_exists(pid), "it is ended")


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
