"""`antiphon check-engine`, as its user runs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.cli.conftest import clean_environment

if TYPE_CHECKING:
    Antiphon = Callable[..., subprocess.CompletedProcess[bytes]]

DEFECTS = Path(__file__).parents[1] / "engines" / "defects.py"
QUICK = ("--utterances", "2", "--text", "Good morning.")
_PATIENCE_S = 30.0
_ANTIPHON = str(Path(sys.executable).with_name("antiphon"))


def test_espeak_passes(antiphon: Antiphon) -> None:
    done = antiphon("check-engine", "espeak", *QUICK)
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown.startswith("Checking espeak\n\nOK       start-up ")
    assert "\nOK       samples         16 bit, one channel, 22050 Hz\n" in shown
    assert "It can join: antiphon node --engine espeak\n" in shown
    assert "\x1b" not in shown


def test_a_problem_is_told_with_what_the_engine_printed(antiphon: Antiphon) -> None:
    done = antiphon("check-engine", f"{DEFECTS}:raises")
    shown = done.stdout.decode()
    assert (done.returncode, done.stderr) == (1, b"")
    assert "\nPROBLEM  speech          RuntimeError: no weights\n" in shown
    assert "The engine printed:\n    RuntimeError in the engine; most recent call last:\n" in shown
    assert "in raises\n" in shown
    assert shown.endswith("\n1 problem, no warnings.\n")


def test_machines_get_json_and_nothing_else(antiphon: Antiphon) -> None:
    done = antiphon("check-engine", "--json", *QUICK, f"{DEFECTS}:talkative")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr, told["status"]) == (0, b"", 0)
    assert told["engine"] == f"{DEFECTS}:talkative"
    (memory,) = [found for found in told["findings"] if found["check"] == "memory"]
    assert 1_000_000 < memory["measured"]["resident_bytes"] < 1_000_000_000
    assert told["printed"][0].startswith("speaking with")


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        (["nowhere.py:tts_api"], {}, "there is no file nowhere.py\n"),
        (["espeak", "--voice", "nobody"], {}, "has no voice 'nobody', which is to be the default\n"),
        (["espeak", "--python", "/no/python"], {}, "SYNTH_PYTHON: there is no interpreter '/no/python'"),
        ([f"{DEFECTS}:one_voice"], {"SYNTH_VOICE": "c"}, "has no voice 'c', which is to be the default\n"),
        (
            ["espeak"],
            {"SYNTH_SLOT": "1"},
            "SYNTH_SLOT is no setting of this process; did you mean SYNTH_SLOTS?",
        ),
        (["command"], {}, "SYNTH_COMMAND: the engine `command` needs a program"),
        (["espeak", "--text", " "], {}, "Error: Invalid value for --text: there is nothing to speak in it\n"),
    ],
)
def test_what_cannot_be_used_is_a_sentence(
    antiphon: Antiphon, arguments: list[str], environment: dict[str, str], sentence: str
) -> None:
    done = antiphon("check-engine", *arguments, environment=environment)
    assert done.returncode == 2
    assert sentence in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_reader_who_leaves_gets_no_complaint() -> None:
    command = f"{_ANTIPHON} check-engine tone --utterances 2 | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=clean_environment(), timeout=_PATIENCE_S, check=False
    )
    assert (done.stdout, done.stderr) == (b"Checking tone\n", b"")


def test_machines_get_the_sentence_too(antiphon: Antiphon) -> None:
    done = antiphon("check-engine", "--json", "nowhere.py:tts_api")
    told = json.loads(done.stdout)
    assert (done.returncode, told["status"], told["error"]) == (2, 2, "there is no file nowhere.py")


def test_what_an_engine_prints_before_it_fails_to_load_is_shown(antiphon: Antiphon, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import os\nprint('no GPU here', flush=True)\nos._exit(4)\n")
    done = antiphon("check-engine", f"{tmp_path / 'mine.py'}:tts_api")
    assert done.returncode == 2
    assert b"The engine printed:\n    no GPU here\n" in done.stderr
    assert b"the engine ended with exit status 4 while it started" in done.stderr


def test_a_program_is_checked_with_its_settings(antiphon: Antiphon, tmp_path: Path) -> None:
    script = tmp_path / "speak.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(DEFECTS.parent)!r})\n"
        "from defects import speech, wav\nsys.stdout.buffer.write(wav(speech(sys.stdin.read())))\n"
    )
    done = antiphon(
        "check-engine", "command", *QUICK, environment={"SYNTH_COMMAND": f"{sys.executable} {script}"}
    )
    assert done.returncode == 0
    assert b"\nOK       file            wav, 8000 Hz\n" in done.stdout


def test_the_engines_own_interpreter_is_used(antiphon: Antiphon, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "own environment"\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    done = antiphon("check-engine", "--json", *QUICK, "--python", str(python), f"{DEFECTS}:whole_file")
    assert done.returncode == 0
    assert json.loads(done.stdout)["printed"] == ["own environment"] * 2


@pytest.fixture
def hanging() -> Iterator[subprocess.Popen[bytes]]:
    """A check whose engine hangs in its first utterance."""
    process = subprocess.Popen(
        [_ANTIPHON, "check-engine", f"{DEFECTS}:hangs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_process_behind(hanging: subprocess.Popen[bytes], signum: int) -> None:
    assert hanging.stdout is not None
    while b"form" not in hanging.stdout.readline():
        assert hanging.poll() is None
    engines = psutil.Process(hanging.pid).children(recursive=True)
    assert engines
    hanging.send_signal(signum)
    _, errors = hanging.communicate(timeout=_PATIENCE_S)
    assert (hanging.returncode, errors) == (130, b"interrupted\n")
    _, alive = psutil.wait_procs(engines, timeout=_PATIENCE_S)
    assert alive == []
