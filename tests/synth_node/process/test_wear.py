"""When an engine gets a new process: real ones that count, and real ones that leak."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from structlog.testing import capture_logs

from antiphon.errors import EngineCrashed
from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from synth_node.process import memory
from synth_node.process.host import EngineHost
from synth_node.process.memory import memory_of_all
from synth_node.process.options import EngineOptions
from synth_node.synthesizer import Synthesizer
from tests.synth_node.conftest import GUARD_S, RawCaller, StartNode, soon

MIB: Final = 1024 * 1024
ENGINE: Final = """
import os, pathlib, subprocess, sys, time
here = pathlib.Path(__file__).parent
kept = []

def fill(mib):
    kept.append(b"x" * (mib << 20))

def tts_api(text):
    with open(here / "pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    deed, _, argument = text.partition(" ")
    if deed in ("leak", "leak_and_hang", "leak_and_fork"):
        fill(int(argument))
    if deed == "leak_and_hang":
        time.sleep(3600)
    if deed == "leak_and_fork" and os.fork() == 0:
        time.sleep(3600)
    if deed == "helper":
        code = f"kept = b'x' * ({argument} << 20); print('full', flush=True); import time; time.sleep(3600)"
        helper = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        helper.stdout.readline()
        kept.append(helper)
    return bytes(1600)
tts_api.sample_rate = 8000

class Tidy:
    sample_rate = 8000
    def synthesize(self, request):
        return tts_api(request.text)
    def close(self):
        (here / "closed").touch()
        if (here / "stubborn").exists():
            time.sleep(3600)

class Large(Tidy):
    def __init__(self):
        fill(200)
"""


class Engine:
    """One slot's engine as its slot uses it."""

    def __init__(self, host: EngineHost, pids: Path) -> None:
        self.host = host
        self._synthesizer = Synthesizer(host)
        self._pids = pids

    async def speak(self, text: str = "hello", **options: Any) -> int:
        """Speak one utterance; return the number of the process that has."""
        async with asyncio.timeout(GUARD_S):
            await self._synthesizer.ready()
            request = SpeechRequest(text, format="pcm", **options)
            assert [piece async for piece in self._synthesizer.speak(request)]
        return self.pids()[-1]

    def pids(self) -> list[int]:
        """Return the number of the process of each segment so far."""
        return [int(line) for line in self._pids.read_text().split()]


@asynccontextmanager
async def engine(tmp_path: Path, name: str = "tts_api", **options: int) -> AsyncIterator[Engine]:
    (tmp_path / "mine.py").write_text(ENGINE)
    spec = f"{tmp_path / 'mine.py'}:{name}"
    async with EngineHost(spec, slot=0, options=EngineOptions(**options)) as host:  # type: ignore[arg-type]
        yield Engine(host, tmp_path / "pids")


def events(logs: list[Any], level: str) -> list[str]:
    return [entry["event"] for entry in logs if entry["log_level"] == level]


async def test_a_process_speaks_no_more_segments_than_it_may(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with engine(tmp_path, recycle_after=4) as each:
            spoken_by = [await each.speak() for _ in range(13)]
    lives = [spoken_by.count(pid) for pid in dict.fromkeys(spoken_by)]
    assert 2 <= lives[0] <= 4
    assert lives[1:3] == [4, 4]
    assert not events(logs, "warning") + events(logs, "error")
    assert "engine gets a new process" in events(logs, "info")


async def test_the_first_process_of_each_slot_lives_for_another_time(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    options = EngineOptions(recycle_after=1000)
    hosts = [EngineHost(f"{tmp_path / 'mine.py'}:tts_api", slot=i, options=options) for i in range(20)]
    lives = [host._wear._left for host in hosts]
    assert all(500 <= life <= 1000 for life in lives)
    assert len(set(lives)) > 1


async def test_it_is_closed_tidily_and_killed_if_it_does_not(tmp_path: Path) -> None:
    async with engine(tmp_path, "Tidy", recycle_after=1) as each:
        first = await each.speak()
        second = await each.speak()
        assert second != first
        assert (tmp_path / "closed").exists()
        (tmp_path / "stubborn").touch()
        assert await each.speak() != second
        (tmp_path / "stubborn").unlink()


async def test_an_utterance_of_many_segments_is_spoken_to_its_end_by_one_process(tmp_path: Path) -> None:
    text = " ".join(f"This is the sentence number {n}." for n in range(20))
    async with engine(tmp_path, recycle_after=1) as each:
        await each.speak(text)
        assert len(each.pids()) > 1
        assert len(set(each.pids())) == 1
        assert await each.speak() not in each.pids()[:-1]


async def test_a_process_that_takes_too_much_is_replaced_between_two_utterances(tmp_path: Path) -> None:
    with capture_logs() as logs:
        async with engine(tmp_path, memory_bytes=100 * MIB) as each:
            assert not each.host.is_ready, "it has to be measured first"
            first = await each.speak("leak 55")
            assert await each.speak("hello") == first
            assert await each.speak("leak 55") == first
            assert await each.speak("hello") != first
    assert not events(logs, "warning") + events(logs, "error")


async def test_its_helpers_count(tmp_path: Path) -> None:
    async with engine(tmp_path, memory_bytes=100 * MIB) as each:
        first = await each.speak("helper 90")
        assert await each.speak("hello") != first


async def test_pages_that_a_helper_shares_count_once(tmp_path: Path) -> None:
    async with engine(tmp_path, memory_bytes=150 * MIB) as each:
        first = await each.speak("leak_and_fork 90")
        assert memory_of_all(first, 10**12) > 180 * MIB > 150 * MIB > memory_of_all(first, 0) > 90 * MIB
        assert await each.speak("hello") == first


async def test_one_that_takes_far_too_much_is_killed_in_the_midst_of_an_utterance(tmp_path: Path) -> None:
    async with engine(tmp_path, memory_bytes=100 * MIB) as each:
        with pytest.raises(EngineCrashed, match=r"the engine takes 2\d\d MiB"):
            await each.speak("leak_and_hang 200")
        first = each.pids()[-1]
        assert await each.speak("hello") != first


async def test_the_bound_holds_where_the_system_does_not_tell_what_processes_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = memory._read
    monkeypatch.setattr(memory, "_read", lambda pid, name: "" if name == "smaps_rollup" else read(pid, name))
    async with engine(tmp_path, memory_bytes=100 * MIB) as each:
        first = await each.speak("leak 110")
        assert await each.speak("hello") != first


async def test_one_that_would_be_replaced_at_once_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"takes 2\d\d MiB as soon as .* SYNTH_MEMORY_MIB=100 is too"):
        async with engine(tmp_path, "Large", memory_bytes=100 * MIB):
            pass


def test_the_memory_of_a_process_that_has_ended_is_none() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    assert memory_of_all(child, 10**12) == memory_of_all(child, 0) == 0


async def test_a_node_whose_engine_is_replaced_all_the_time_loses_nothing(
    start: StartNode, raw: RawCaller, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    with capture_logs() as logs:
        node = await start(engine=f"{tmp_path / 'mine.py'}:tts_api", recycle_after=1, memory_mib=2000)
        for _ in range(5):
            assert (await raw.ask_when_free(b"hello")).data
        await soon(lambda: node.slots[0].state == "idle", "it is back")
    pids = (tmp_path / "pids").read_text().split()
    assert len(set(pids)) == len(pids) == 5
    assert not events(logs, "warning") + events(logs, "error")
    assert node.tally.failed == 0
