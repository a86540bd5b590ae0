"""Programs that fail, chatter, leave something behind, hang, or are cancelled."""

from __future__ import annotations

import asyncio
import sys
import wave
from pathlib import Path

import psutil
import pytest
from structlog.testing import capture_logs

from antiphon.errors import BadAudio, EngineCrashed, EngineFailed, NothingToSpeak, SpeechError
from tests.synth_node.command.support import RATE, said, script, speaker
from tests.synth_node.conftest import GUARD_S, soon
from tests.synth_node.support_sound import tone


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


async def test_a_program_that_hangs_is_ended(tmp_path: Path) -> None:
    async with speaker(script(f"echo $$ > {tmp_path}/pid; exec sleep 600"), idle_s=0.5) as synthesizer:
        with pytest.raises(EngineCrashed):
            await said(synthesizer)
        pid = int((tmp_path / "pid").read_text())
        await soon(lambda: not psutil.pid_exists(pid), "it is ended")


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
