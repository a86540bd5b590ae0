"""`antiphon up`: everything on one machine, as real processes."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from antiphon.cli import main

if TYPE_CHECKING:
    from tests.cli.conftest import StartUp, Up

    Antiphon = Callable[..., subprocess.CompletedProcess[bytes]]

ANY_PORTS = ("--port", "0", "--nats-port", "0")
SLOW_ENGINE = """
import pathlib, time

def tts_api(text):
    pathlib.Path({began!r}).touch()
    time.sleep({seconds})
    return pathlib.Path({audio!r}).read_bytes()
"""


def test_it_speaks_and_says_how(up: Up) -> None:
    assert up.speak("hello")
    up.until_nodes(2)
    assert f"curl -s -X POST {up.http}/tts" in up.output
    assert f'antiphon say "hello" -o hello.mp3 --nats {up.nats}' in up.output
    assert f"antiphon node --nats {up.nats}" in up.output


def test_the_banner_does_not_colour_a_pipe(up: Up) -> None:
    assert "\x1b" not in up.output


@pytest.mark.parametrize(
    ("module", "name", "works"),
    [("synth_node", "node-[12]", "ready"), ("gateway", "gateway", "connected to NATS")],
)
def test_a_program_that_is_killed_is_started_again(up: Up, module: str, name: str, works: str) -> None:
    before = up.programs(f"-m {module}")
    before[0].kill()
    killed = up.until(rf"antiphon \| ({name}) ended \(SIGKILL\); starting it again in 0\.2 s").group(1)
    up.until(rf"{killed} +\| {works}")
    assert len(up.programs(f"-m {module}")) == len(before)


def test_nats_server_comes_back_on_its_port(start_up: StartUp) -> None:
    up = start_up("--engine", "tone", "--nodes", "1", *ANY_PORTS).ready()
    up.programs("nats-server")[0].kill()
    up.until(r"antiphon \| nats ended \(SIGKILL\)")
    up.until("again|connected")  # whoever is connected again says so
    port = int(up.nats.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10):
        pass
    assert up.end() == 0


def test_a_taken_http_port_is_one_sentence(antiphon: Antiphon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = antiphon("up", "--port", str(port))
    assert done.returncode == 1
    assert done.stdout == b""
    message = f"Error: The gateway cannot listen on 127.0.0.1:{port}: the port is already in use.\n"
    assert done.stderr.decode() == message


def test_a_taken_nats_port_is_an_error_only_if_it_was_asked_for(antiphon: Antiphon) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = antiphon("up", "--port", "0", "--nats-port", str(port))
    assert done.returncode == 1
    message = f"Error: NATS cannot listen on 127.0.0.1:{port}: the port is already in use.\n"
    assert done.stderr.decode() == message


def test_two_run_side_by_side(up: Up, start_up: StartUp) -> None:
    other = start_up("--engine", "tone", "--nodes", "1", "--port", "0").ready()
    assert other.speak("hello")
    assert other.end() == 0
    assert up.speak("hello")


@pytest.mark.parametrize("engine", ["no_such_engine", "no_such_module:tts_api", "no_such_file.py:tts_api"])
def test_a_bad_engine_is_one_sentence(start_up: StartUp, engine: str) -> None:
    up = start_up("--engine", engine, *ANY_PORTS)
    assert up.wait() == 1
    assert up.errors.startswith("Error: ")
    assert up.errors.count("\n") == 1
    assert engine.removesuffix(":tts_api") in up.errors
    assert "node-1" not in up.output


def test_a_bad_setting_is_one_sentence(start_up: StartUp) -> None:
    up = start_up("--engine", "tone", *ANY_PORTS, environment={"SYNTH_GRACE_S": "soon"})
    assert up.wait() == 1
    assert up.errors.startswith("Error: ")
    assert up.errors.count("\n") == 1
    assert "SYNTH_GRACE_S" in up.errors


def test_without_nats_server_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("NATS_", "GATEWAY_", "SYNTH_"))]:
        monkeypatch.delenv(name)
    done = CliRunner().invoke(main, ["up", "--port", "0"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: nats-server is not installed; install it with:")


def test_a_server_that_does_not_answer_is_one_sentence(antiphon: Antiphon) -> None:
    done = antiphon("up", "--port", "0", "--nats", "nats://secret@127.0.0.1:1")
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: No connection to NATS at nats://127.0.0.1:1: ")
    assert done.stderr.count(b"\n") == 1
    assert b"secret" not in done.stderr


def test_it_uses_a_server_that_runs(up: Up, start_up: StartUp) -> None:
    other = start_up("--engine", "tone", "--nodes", "1", "--port", "0", environment={"NATS_URL": up.nats})
    other.ready()
    assert not other.programs("nats-server")
    other.until_nodes(3)
    assert other.end() == 0


def test_a_server_of_its_own_and_another_one_exclude_each_other(up: Up, antiphon: Antiphon) -> None:
    done = antiphon("up", "--port", "0", "--nats", up.nats, "--nats-port", "0")
    assert done.returncode == 2
    assert b"--nats uses a server that runs; --nats-host and --nats-port start one." in done.stderr


def test_asking_for_a_server_of_its_own_beats_the_environment(
    start_up: StartUp, nowhere: dict[str, str]
) -> None:
    other = start_up("--engine", "tone", "--nodes", "1", *ANY_PORTS, environment=nowhere).ready()
    assert other.programs("nats-server")
    assert other.speak("hello")
    assert other.end() == 0


def test_naming_a_server_beats_the_environment(up: Up, start_up: StartUp, nowhere: dict[str, str]) -> None:
    options = ("--engine", "tone", "--nodes", "1", "--port", "0", "--nats", up.nats)
    other = start_up(*options, environment=nowhere).ready()
    assert other.nats == up.nats
    other.until_nodes(3)
    assert other.end() == 0


def test_a_file_may_name_the_server(up: Up, start_up: StartUp, nowhere: dict[str, str]) -> None:
    Path(nowhere["NATS_URL_FILE"]).write_text(f"{up.nats}\n")
    options = ("--engine", "tone", "--nodes", "1", "--port", "0")
    other = start_up(*options, environment=nowhere).ready()
    assert other.nats == up.nats
    other.until_nodes(3)
    assert other.end() == 0


def test_kill_9_leaves_nothing(start_up: StartUp, tmp_path: Path) -> None:
    up = start_up("--engine", "tone", *ANY_PORTS, environment={"TMPDIR": str(tmp_path)}).ready()
    assert len(up.programs("-m synth_node")) == 2
    assert up.programs("nats-server")
    assert up.end(signal.SIGKILL) == -signal.SIGKILL


def _slow_engine(tmp_path: Path, seconds: float, audio: bytes) -> tuple[str, Path]:
    """Write an engine that takes its time; return its name and a file that appears when it begins."""
    began, model, sound = tmp_path / "began", tmp_path / "slow.py", tmp_path / "audio"
    sound.write_bytes(audio)
    model.write_text(SLOW_ENGINE.format(began=str(began), seconds=seconds, audio=str(sound)))
    return f"{model}:tts_api", began


def _wait_for(path: Path, up: Up) -> None:
    waiting = threading.Event()
    for _ in range(1000):
        if path.exists():
            return
        waiting.wait(0.02)
    raise AssertionError(f"the engine was not called:\n{up.output}")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_what_is_being_spoken_finish(
    up: Up, start_up: StartUp, tmp_path: Path, signum: signal.Signals
) -> None:
    audio = up.speak("hello")
    engine, began = _slow_engine(tmp_path, 1.5, audio)
    other = start_up("--engine", engine, "--nodes", "1", *ANY_PORTS).ready()
    heard: list[bytes] = []
    listener = threading.Thread(target=lambda: heard.append(other.speak("hello")))
    listener.start()
    _wait_for(began, other)
    assert other.end(signum) == 0
    listener.join()
    assert heard == [audio]


def test_a_second_signal_stops_at_once(start_up: StartUp, tmp_path: Path) -> None:
    engine, began = _slow_engine(tmp_path, 3600, b"")
    up = start_up("--engine", engine, "--nodes", "1", *ANY_PORTS).ready()

    def listen() -> None:
        with pytest.raises(OSError, match=r"."):
            up.speak("hello")

    listener = threading.Thread(target=listen)
    listener.start()
    _wait_for(began, up)
    programs = up.programs()
    up.process.send_signal(signal.SIGINT)
    up.until("stopping")
    up.process.send_signal(signal.SIGINT)
    up.wait()
    listener.join()
    up.assert_gone(programs)


def test_an_open_server_asks_for_a_token_that_no_command_line_shows(
    start_up: StartUp, antiphon: Antiphon
) -> None:
    up = start_up("--engine", "tone", "--nodes", "1", *ANY_PORTS, "--nats-host", "0.0.0.0").ready()
    found = re.search(r"antiphon node --nats nats://([\w-]{20,})@\S+:(\d+)", up.output)
    assert found is not None
    token, port = found.groups()
    assert up.output.count(token) == 1
    assert not up.programs(token)
    config = Path(up.programs("nats-server")[0].cmdline()[2])
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    refused = antiphon("say", "hello", "--nats", f"nats://127.0.0.1:{port}")
    assert (refused.returncode, refused.stdout, refused.stderr.count(b"\n")) == (1, b"", 1)
    assert antiphon("say", "hello", "--nats", f"nats://{token}@127.0.0.1:{port}").stdout
    assert up.end() == 0
    assert not config.exists()


def test_a_given_token_is_used_and_not_printed_by_the_way(start_up: StartUp, antiphon: Antiphon) -> None:
    environment = {"ANTIPHON_NATS_TOKEN": "open-sesame"}
    up = start_up("--engine", "tone", "--nodes", "1", *ANY_PORTS, environment=environment).ready()
    assert up.output.count("open-sesame") == 1
    assert antiphon("say", "hello", "--nats", up.nats.replace("://", "://open-sesame@")).stdout
    assert antiphon("say", "hello", "--nats", up.nats).returncode == 1


def test_a_token_that_is_none_is_refused(antiphon: Antiphon) -> None:
    done = antiphon("up", "--port", "0", "--nats-token", "a@b")
    assert (done.returncode, done.stderr) == (
        1,
        b"Error: A NATS token may hold letters, digits and . _ ~ - only.\n",
    )


def test_settings_of_an_engine_reach_its_nodes(start_up: StartUp, antiphon: Antiphon) -> None:
    command = {"SYNTH_COMMAND": "espeak-has-no-such-program {text}"}
    done = antiphon("up", "--engine", "command", *ANY_PORTS, environment=command)
    assert done.returncode == 1
    assert b"Error: SYNTH_COMMAND: there is no program 'espeak-has-no-such-program'" in done.stderr
    command = {"SYNTH_COMMAND": "head -c 32000 /dev/urandom", "SYNTH_COMMAND_SAMPLE_RATE": "16000"}
    up = start_up("--engine", "command", "--nodes", "1", *ANY_PORTS, environment=command).ready()
    assert list(up.get("/check_tts_status")["models"]) == ["command"]
    assert len(up.speak("hello")) > 4000
    assert up.end() == 0
