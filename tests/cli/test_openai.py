"""`antiphon up` behind another `antiphon up`, as the how-to says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from antiphon.mp3 import FrameCounter
from tests.cli.conftest import StartUp, Up

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def test_one_group_speaks_through_another(up: Up, start_up: StartUp) -> None:
    environment = {"SYNTH_OPENAI_BASE_URL": f"{up.http}/v1", "SYNTH_OPENAI_FORMAT": "mp3"}
    options = ("--engine", "openai", "--nodes", "1", "--slots", "2", "--port", "0", "--nats-port", "0")
    behind = start_up(*options, environment=environment).ready()
    assert "1 node x 2 slots, engine openai" in behind.output
    assert FrameCounter().feed(behind.speak("hello")) == FrameCounter().feed(up.speak("hello"))
    ids = [{voice["id"] for voice in each.get("/v1/audio/voices")["voices"]} for each in (up, behind)]
    assert ids[0] == ids[1]
    assert behind.get("/check_tts_status")["models"].keys() == {"openai"}
    assert behind.end() == 0


def test_without_an_address_it_says_which_variable_to_set(antiphon: Run) -> None:
    ended = antiphon("up", "--engine", "openai", "--nodes", "1", "--port", "0", "--nats-port", "0")
    assert ended.returncode == 1
    assert b"SYNTH_OPENAI_BASE_URL" in ended.stderr
