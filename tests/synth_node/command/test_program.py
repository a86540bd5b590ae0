"""The engine `command` with real programs: what they are given, and what they give."""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import aclosing
from pathlib import Path

import pytest

from antiphon.errors import EngineCrashed, EngineFailed, InvalidRequest, TextTooLong, UnknownVoice
from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from synth_node.synthesizer import EncodedAudio
from tests.synth_node.command.support import RATE, said, script, speaker
from tests.synth_node.conftest import GUARD_S
from tests.synth_node.support_sound import decoded, encoded, loudness, tone

TELL = """
said=$({}; printf .)
printf %s "$said"
[ $(($(printf %s "$said" | wc -c) % 2)) = 0 ] || printf ' '
"""
"""What something says as samples, an even number of bytes: a test can read there what a program was given."""


TELL_ARGUMENTS = TELL.format("printf '<%s>' \"$@\"")


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
