"""How an engine process is kept alive."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from tests.synth_node.conftest import GUARD_S
from tests.synth_node.process.support_engine import synthesizer_of
from tests.synth_node.support_speaking import until

ENGINE = """
import os, pathlib
here = pathlib.Path(__file__).parent
if (here / "broken").exists():
    raise RuntimeError("no weights")
(here / "pid").write_text(str(os.getpid()))
def tts_api(text):
    return bytes(16000)
tts_api.sample_rate = 8000
"""


async def test_an_engine_that_cannot_start_again_is_tried_with_growing_pauses(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    with capture_logs() as logs:
        async with synthesizer_of(f"{tmp_path / 'mine.py'}:tts_api") as synthesizer:
            (tmp_path / "broken").touch()
            os.kill(int((tmp_path / "pid").read_text()), 9)
            failures: list[float] = []

            def failed() -> int:
                failures[:] = [e["again_in_s"] for e in logs if e["event"] == "engine does not start"]
                return len(failures)

            await until(lambda: failed() >= 2)
            assert failures[:2] == [0.1, 0.2]
            (tmp_path / "broken").unlink()
            async with asyncio.timeout(GUARD_S):
                await synthesizer.ready()
                assert [piece async for piece in synthesizer.speak(SpeechRequest("hello"))]
    assert any("no weights" in entry.get("reason", "") for entry in logs)


async def test_leaving_in_the_midst_of_an_utterance_or_a_restart_ends_the_engine(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    async with asyncio.timeout(GUARD_S):
        async with synthesizer_of("tone") as synthesizer:
            pieces = synthesizer.speak(SpeechRequest("x" * 50_000))
            await anext(pieces)
        await pieces.aclose()
        async with synthesizer_of(f"{tmp_path / 'mine.py'}:tts_api"):
            (tmp_path / "broken").touch()
            os.kill(int((tmp_path / "pid").read_text()), 9)
            await asyncio.sleep(0)


async def test_what_is_started_is_released() -> None:
    """No descriptor and no task is left behind."""

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    async with synthesizer_of("tone"):
        pass
    before = descriptors(), len(asyncio.all_tasks())
    for _ in range(3):
        async with synthesizer_of("tone") as synthesizer:
            assert [piece async for piece in synthesizer.speak(SpeechRequest("hello"))]
    await until(lambda: (descriptors(), len(asyncio.all_tasks())) == before)


async def test_a_start_that_is_cancelled_leaves_nothing_open() -> None:
    """At whatever step; what is forgotten warns when it is collected."""

    async def start() -> None:
        async with synthesizer_of("tone"):
            pass

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    await start()
    before = descriptors()
    for n_steps in (1, 2, 3, 4, 5, 8, 12):
        starting = asyncio.create_task(start())
        for _ in range(n_steps):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait({starting})
        gc.collect()
        await until(lambda: descriptors() == before)


@pytest.mark.parametrize("n_free", [0, 1, 2, 3, 5, 7, 10])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_without_a_descriptor_to_spare_the_engine_is_unavailable(
    run: Callable[..., object], n_free: int
) -> None:
    """What was opened by then is closed; what is forgotten warns when it is collected."""

    async def start_without() -> None:
        await asyncio.sleep(0)
        before = len(os.listdir("/proc/self/fd"))
        usual = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)  # the lowest one; the limit is on the number, not on how many are open
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + n_free, usual[1]))
        try:
            with pytest.raises(EngineUnavailable, match="process cannot be started: Too many open files"):
                async with synthesizer_of("tone"):
                    pass
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before

    run(start_without())
