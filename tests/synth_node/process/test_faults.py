"""Every way in which an engine fails, and what it may do beside speaking."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from antiphon.errors import EngineCrashed, EngineFailed, NothingToSpeak, SpeechError
from tests.synth_node.conftest import FAULTS, GUARD_S
from tests.synth_node.process.support_engine import synthesizer_of
from tests.synth_node.support_speaking import FORMS, is_gone, speak, until


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("raise no such word", EngineFailed, "ValueError: no such word"),
        ("surrogate", EngineFailed, "ValueError"),
        ("raise_later", EngineFailed, "RuntimeError: half way"),
        ("return 'text'", EngineFailed, "returned str; it must return bytes"),
        ("return None", EngineFailed, "returned None"),
        ("return 42", EngineFailed, "returned int"),
        ("return ['a']", EngineFailed, "gave str as a piece"),
        ("array f", EngineFailed, "type float32; they must be 16-bit integers: "),
        ("return (8000, bytes(16000))", EngineFailed, "not one number; the sample rate is an attribute"),
        ("nothing", NothingToSpeak, "no sound"),
        ("return b''", NothingToSpeak, "no sound"),
        ("exit 7", EngineCrashed, "exit status 7"),
        ("exit_later", EngineCrashed, "exit status 3"),
        ("system_exit 4", EngineCrashed, "exit status 4"),
        ("segfault", EngineCrashed, "SIGSEGV"),
        ("memory", EngineCrashed, "exit status 1"),
        ("nonsense deadbeef" + "00" * 20, EngineCrashed, "nonsense"),
        ("nonsense a741000000017fffffff", EngineCrashed, "nonsense"),
        ("nonsense a7410000000100000000", EngineCrashed, "nonsense"),
        ("nonsense a74500000001000000027b7d", EngineCrashed, "nonsense"),
        ("nonsense a75a0000000900000000", EngineCrashed, "nonsense"),
        ("hang", EngineCrashed, "silent for 0.3 s"),
        ("hang_in_c", EngineCrashed, "silent for 0.3 s"),
        ("hang_later", EngineCrashed, "silent for 0.3 s"),
    ],
)
async def test_a_fault_is_a_clear_error_and_the_next_utterance_works(
    text: str, error: type[SpeechError], match: str
) -> None:
    async with synthesizer_of(FAULTS, idle_s=0.3) as synthesizer:
        with pytest.raises(error, match=match):
            await speak(synthesizer, text)
        assert (await speak(synthesizer, "array h"))[1] == pytest.approx(1.0)


async def test_an_engine_that_died_beside_its_own_fork_is_missed_at_once() -> None:
    async with synthesizer_of(FAULTS, idle_s=10 * GUARD_S) as synthesizer:
        with pytest.raises(EngineCrashed, match="SIGKILL"):
            await speak(synthesizer, "die_beside_a_fork")


async def test_what_an_engine_prints_reaches_the_log_and_never_the_audio() -> None:
    with capture_logs() as logs:
        async with synthesizer_of(FAULTS, slot=3) as synthesizer:
            _, duration_s = await speak(synthesizer, "print hello there")
            assert duration_s == pytest.approx(1.0)

            def lines() -> list[str]:
                return [entry["line"] for entry in logs if entry["event"] == "engine output"]

            expected = {"hello there", "to stderr", "to the descriptor", "from C", "from a helper"}
            await until(lambda: expected <= set(lines()) and any(line[:2] == "xx" for line in lines()))
            assert all(len(line) <= 2000 for line in lines())
            assert {entry["slot"] for entry in logs} == {3}


@pytest.mark.parametrize("deed", ["stdin", "nice", "modules", "arguments"])
async def test_the_surroundings_of_an_engine(deed: str) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        await speak(synthesizer, deed)


async def test_an_engine_is_closed_tidily() -> None:
    with capture_logs() as logs:
        async with synthesizer_of(FORMS + "Full") as synthesizer:
            await speak(synthesizer)
        await until(lambda: any(entry.get("line") == "closed tidily" for entry in logs))


async def test_an_engine_that_died_idle_is_restarted_without_failing_a_request(tmp_path: Path) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        for _ in range(3):
            await speak(synthesizer, f"pid {tmp_path / 'pid'}")
            pid = int((tmp_path / "pid").read_text())
            os.kill(pid, 9)
            assert (await speak(synthesizer, "fine"))[1] == pytest.approx(1.0)
            assert is_gone(pid)
