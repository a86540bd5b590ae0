"""What an engine speaks before its slot joins: real engine processes, and a node."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

import pytest
from structlog.testing import capture_logs

from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from synth_node.synthesizer import Synthesizer
from tests.synth_node.conftest import GUARD_S, RawCaller, StartNode, soon

ENGINE: Final = """
import asyncio, os, pathlib, sys, time
here = pathlib.Path(__file__).parent

def told(text, voice):
    with open(here / "told", "a") as file:
        file.write(f"{os.getpid()} {text} {voice}\\n")
    if (here / "broken").exists():
        raise RuntimeError("no kernel for this device")

def function(text, voice=None):
    told(text, voice)
    return b"" if text == "silence" else bytes(1600)

def stream(text, voice=None):
    told(text, voice)
    for _ in range(100):
        yield bytes(100_000)  # together more than a socket holds

async def coroutine(text, voice=None):
    told(text, voice)
    await asyncio.sleep(0)
    return bytes(1600)

def hang(text):
    time.sleep(3600)

def slow(text):
    if text == "warm":
        time.sleep(0.5)
    return bytes(1600)

for each in (function, stream, coroutine, hang, slow):
    each.sample_rate = 8000
"""


@pytest.fixture
def engine(tmp_path: Path) -> str:
    """Path of the engines, to be followed by the name of one."""
    (tmp_path / "mine.py").write_text(ENGINE)
    return f"{tmp_path / 'mine.py'}:"


def host(engine: str, **options: object) -> EngineHost:
    return EngineHost(engine, slot=0, options=EngineOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["function", "stream", "coroutine"])
async def test_every_process_speaks_the_text_once_before_it_is_ready(
    tmp_path: Path, engine: str, form: str
) -> None:
    def told() -> list[str]:
        return (tmp_path / "told").read_text().splitlines()

    async with asyncio.timeout(GUARD_S), host(engine + form, warm_up="warm", voice="anna") as each:
        (first,) = told()
        pid, *rest = first.split()
        assert rest == ["warm", "anna"]
        os.kill(int(pid), 9)
        await soon(lambda: len(told()) == 2, "the next process warms up")
        await each.ready()
        second = told()[1].split()
        assert second[0] != pid
        assert second[1:] == ["warm", "anna"]
        assert [piece async for piece in Synthesizer(each).speak(SpeechRequest("hello"))]
        assert len(told()) == 3


@pytest.mark.parametrize("name", ["espeak", "tone"])
async def test_engines_that_come_with_it_warm_up_too(name: str) -> None:
    async with asyncio.timeout(GUARD_S), host(name, warm_up="A warm-up.") as each:
        assert each.is_ready


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("function", "silence", "the engine made no sound in its warm-up"),
        ("function", "warm", "failed in its warm-up: RuntimeError: no kernel for this device"),
        ("coroutine", "warm", "failed in its warm-up: RuntimeError: no kernel for this device"),
        ("hang", "warm", "not ready within 0.5 s"),
    ],
)
async def test_an_engine_that_fails_in_it_does_not_start(
    tmp_path: Path, engine: str, name: str, text: str, match: str
) -> None:
    if text == "warm":
        (tmp_path / "broken").touch()
    with pytest.raises(EngineUnavailable, match=match):
        async with host(engine + name, warm_up=text, start_s=0.5 if name == "hang" else GUARD_S):
            pass


async def test_it_counts_as_a_part_of_the_start(engine: str) -> None:
    async with host(engine + "slow") as cold, host(engine + "slow", warm_up="warm") as warm:
        assert warm.start_up_s > 0.5
        assert warm.info.start_up_s == warm.start_up_s
        assert cold.seconds_per_character == warm.seconds_per_character == 0.0


async def test_a_slot_whose_engine_fails_in_it_again_stays_away_until_it_does_not(
    tmp_path: Path, engine: str, start: StartNode, raw: RawCaller
) -> None:
    broken, told = tmp_path / "broken", tmp_path / "told"
    node = await start(engine=f"{engine}function", warm_up="warm")
    broken.touch()
    with capture_logs() as logs:
        os.kill(int(told.read_text().split()[0]), 9)

        def failures() -> list[str]:
            return [entry["reason"] for entry in logs if entry["event"] == "engine does not start"]

        await soon(lambda: len(failures()) >= 2, "it is tried again")
        assert node.slots[0].state == "starting"
        assert "no kernel for this device" in failures()[0]
    broken.unlink()
    assert (await raw.ask_when_free(b"hello")).data
