"""`antiphon say`: over NATS, into a file or a pipe."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from antiphon.mp3 import with_length

if TYPE_CHECKING:
    from tests.cli.conftest import Up

    Antiphon = Callable[..., subprocess.CompletedProcess[bytes]]


def test_it_writes_a_file(up: Up, antiphon: Antiphon, tmp_path: Path) -> None:
    path = tmp_path / "hello.mp3"
    done = antiphon("say", "hello", "-o", str(path), "--nats", up.nats)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert path.read_bytes() == up.speak("hello")
    assert list(tmp_path.iterdir()) == [path]


def test_standard_input_and_output(up: Up, antiphon: Antiphon) -> None:
    done = antiphon("say", "-", "--nats", up.nats, input=b"hello")
    # A pipe is written as the audio comes: the first frame cannot tell the length, as that of a file does.
    assert with_length(done.stdout) == up.speak("hello")


def test_the_server_may_be_named_by_the_environment(up: Up, antiphon: Antiphon) -> None:
    assert antiphon("say", "hello", environment={"NATS_URL": up.nats}).stdout


def test_model_and_speed_are_passed_on(up: Up, antiphon: Antiphon) -> None:
    normal = antiphon("say", "hello, hello", "--nats", up.nats, "--model", "tone").stdout
    fast = antiphon("say", "hello, hello", "--nats", up.nats, "--speed", "2").stdout
    assert 0 < len(fast) < len(normal)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--speed", "9"), "Speed must be from 0.25 to 4."),
        (("--format", "exe"), "Format must be one of mp3"),
        (("--model", "no.such"), "Model 'no.such' is no model name."),
        (("--model", "nobody"), "nobody"),
        (("--voice", "no-such-voice"), "no-such-voice"),
    ],
)
def test_a_failure_is_one_sentence_and_leaves_no_file(
    up: Up, antiphon: Antiphon, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    path = tmp_path / "hello.mp3"
    path.write_bytes(b"what was there before")
    done = antiphon("say", "hello", "-o", str(path), "--nats", up.nats, *options)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert done.stderr.count(b"\n") == 1
    assert reason in done.stderr.decode()
    assert path.read_bytes() == b"what was there before"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_speak_is_an_error(up: Up, antiphon: Antiphon) -> None:
    done = antiphon("say", "-", "--nats", up.nats, input=b" \n")
    assert (done.returncode, done.stderr) == (1, b"Error: Text is empty.\n")


def test_a_folder_that_is_missing_is_named(up: Up, antiphon: Antiphon, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "hello.mp3"
    done = antiphon("say", "hello", "-o", str(path), "--nats", up.nats)
    assert (done.returncode, done.stderr) == (1, f"Error: {path}: No such file or directory.\n".encode())


def test_a_device_is_written_to_and_not_replaced(up: Up, antiphon: Antiphon) -> None:
    assert antiphon("say", "hello", "-o", os.devnull, "--nats", up.nats).returncode == 0
    assert not Path(os.devnull).is_file()


def test_without_a_server_it_says_where_it_looked(antiphon: Antiphon) -> None:
    done = antiphon("say", "hello", "--nats", "nats://user:secret@127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: No connection to NATS at nats://127.0.0.1:1: ")
    assert done.stderr.count(b"\n") == 1
    assert b"secret" not in done.stderr


def test_audio_is_not_written_to_a_terminal() -> None:
    master, slave = pty.openpty()
    try:
        command = [str(Path(sys.executable).with_name("antiphon")), "say", "hello"]
        done = subprocess.run(command, stdout=slave, stderr=subprocess.PIPE, timeout=30, check=False)
    finally:
        os.close(slave)
        os.close(master)
    assert done.returncode == 2
    assert b"-o hello.mp3" in done.stderr


def test_the_name_of_the_file_asks_for_the_format(up: Up, antiphon: Antiphon, tmp_path: Path) -> None:
    path = tmp_path / "hello.wav"
    done = antiphon("say", "hello", "-o", str(path), "--nats", up.nats)
    if done.returncode == 0:
        with wave.open(str(path)) as audio:
            assert audio.getnframes()
    else:
        assert b"wav" in done.stderr


def test_words_go_into_a_file_of_their_own(up: Up, antiphon: Antiphon, tmp_path: Path) -> None:
    audio, words, captions = (tmp_path / f"hello.{suffix}" for suffix in ("wav", "json", "srt"))
    options = ("-o", str(audio), "--nats", up.nats, "--sample-rate", "16000")
    assert antiphon("say", "Hello you.", *options, "--words", str(words)).returncode == 0
    with wave.open(str(audio)) as file:
        assert file.getframerate() == 16000
        duration_ms = file.getnframes() / 16
    first, second = json.loads(words.read_text())["words"]
    assert (first["word"].strip("."), second["word"].strip(".")) == ("Hello", "you")
    assert (
        0 <= first["start_ms"] < first["end_ms"] <= second["start_ms"] < second["end_ms"] <= duration_ms + 1
    )
    assert antiphon("say", "Hello you.", *options, "--words", str(captions)).returncode == 0
    assert "Hello you." in captions.read_text().splitlines()


def test_words_want_a_file_of_a_kind_that_is_known(antiphon: Antiphon, tmp_path: Path) -> None:
    done = antiphon("say", "hello", "-o", str(tmp_path / "a.mp3"), "--words", "words.txt")
    assert done.returncode == 2
    assert b".json, .srt, .vtt" in done.stderr
