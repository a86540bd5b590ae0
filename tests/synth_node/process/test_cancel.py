"""What becomes of an engine whose listener leaves, or does not listen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from antiphon.request import SpeechRequest
from synth_node.process.utterance import MAX_BUFFERED_BYTES
from synth_node.synthesizer import Synthesizer
from tests.synth_node.conftest import ENGINES, FAULTS, GUARD_S
from tests.synth_node.process.support_engine import synthesizer_of
from tests.synth_node.support_speaking import is_gone, speak, until


async def leave_after(seconds: float, synthesizer: Synthesizer, text: str) -> None:
    """Speak, and be cancelled in the midst of it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await speak(synthesizer, text)
    async with asyncio.timeout(GUARD_S):
        await synthesizer.ready()


@pytest.mark.parametrize("how", ["close", "cancel"])
@pytest.mark.parametrize("engine", ["espeak", "tone"])
async def test_a_cancelled_run_frees_the_slot(engine: str, how: str) -> None:
    with capture_logs() as logs:
        async with synthesizer_of(engine) as synthesizer:
            request = SpeechRequest("a long text " * 5000)
            if how == "close":
                async with aclosing(synthesizer.speak(request)) as pieces:
                    await anext(pieces)
            else:
                await leave_after(0.3, synthesizer, request.text)
            async with asyncio.timeout(3.0):
                await synthesizer.ready()
            await speak(synthesizer)
    assert not [entry for entry in logs if entry["event"] == "engine ended"]


@pytest.mark.parametrize("engine", ["endless", "endless_pieces"])
async def test_an_async_engine_is_cancelled_where_it_waits(engine: str) -> None:
    with capture_logs() as logs:
        async with synthesizer_of(f"{ENGINES / 'faults.py'}:{engine}") as synthesizer:
            for _ in range(2):
                await leave_after(0.1, synthesizer, "hello")
    assert not [entry for entry in logs if entry["event"] == "engine ended"]


async def test_a_cancelled_call_finishes_unheard_if_that_is_sooner_than_a_restart() -> None:
    with capture_logs() as logs:
        async with synthesizer_of(f"{ENGINES / 'faults.py'}:SlowStart") as synthesizer:
            await speak(synthesizer, "sleep 0.30")  # now its time per character is known
            await leave_after(0.1, synthesizer, "sleep 0.30")
            assert (await speak(synthesizer, "fine"))[1] == pytest.approx(1.0)
    assert not [entry for entry in logs if entry["event"] == "engine ended"]


async def test_a_cancelled_call_that_would_go_on_is_killed(tmp_path: Path) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        await leave_after(0.5, synthesizer, f"pid_and_hang {tmp_path / 'pid'}")
        assert is_gone(int((tmp_path / "pid").read_text()))
        await speak(synthesizer, "fine")


async def test_an_engine_blocks_while_nobody_listens(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    async with synthesizer_of(FAULTS) as synthesizer:
        async with aclosing(synthesizer.speak(SpeechRequest(f"count {taken}"))) as pieces:
            await anext(pieces)
            before = -1
            while before != (now := int(taken.read_text() or 0)):  # it stands still
                before = now
                await asyncio.sleep(0.1)
            assert now * 16_000 < 3 * MAX_BUFFERED_BYTES
            for _ in range(200):
                await anext(pieces)
            await until(lambda: int(taken.read_text() or 0) > now)
        await speak(synthesizer, "fine")
