"""What engines print, in amounts that would drown a node."""

from __future__ import annotations

import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from antiphon.request import SpeechRequest
from synth_node.process.output import MAX_LINE_BYTES, MAX_LINES, WINDOW_S, EngineOutput
from tests.synth_node.conftest import FAULTS, GUARD_S, soon
from tests.synth_node.process.support_engine import synthesizer_of


@pytest.mark.parametrize("piece", [b"ab\n\n", b"x"])
async def test_a_flood_keeps_neither_the_engine_nor_the_node_busy(piece: bytes) -> None:
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    with capture_logs() as logs:
        async with asyncio.timeout(GUARD_S), synthesizer_of(FAULTS) as synthesizer:
            assert [spoke async for spoke in synthesizer.speak(SpeechRequest(f"flood {piece!r}"))]
            if b"\n" in piece:
                await soon(lambda: any(entry["event"] == "engine output left out" for entry in logs), "told")
    lines = [entry["line"] for entry in logs if entry["event"] == "engine output"]
    n_windows = (loop.time() - began_at) / WINDOW_S + 1
    assert 0 < len(lines) <= MAX_LINES * n_windows
    if b"\n" in piece:
        assert set(lines) == {"ab"}
        n_all = len(lines) + sum(entry.get("lines", 0) for entry in logs)
        assert 32 * 1024 * 1024 // 2 - 2 * MAX_LINES * n_windows < n_all <= 32 * 1024 * 1024 // 2
    else:
        assert all(set(line) == {"x"} and len(line) <= MAX_LINE_BYTES for line in lines)


@pytest.mark.parametrize("size", [1, 1000, 65536])
async def test_what_is_kept_of_a_line_without_end_is_bounded(size: int) -> None:
    output = EngineOutput(structlog.get_logger())
    with capture_logs():
        for _ in range(200_000 // size + 1):
            output.data_received(b"x" * size)
            assert len(output._line) <= MAX_LINE_BYTES


async def test_of_a_progress_bar_the_last_state_is_a_line() -> None:
    output = EngineOutput(structlog.get_logger())
    with capture_logs() as logs:
        output.data_received(b"one\r\n")
        for percent in range(1001):
            output.data_received(b"\r%d of 1000" % percent if percent % 2 else b"%d of 1000\r" % percent)
        output.data_received(b"\rWARNING: no mask\n\r 5%\r10%\r")
        output.connection_lost(None)
    assert [entry["line"] for entry in logs] == ["one", "WARNING: no mask", "10%"]


async def test_lines_come_whole_however_they_are_cut() -> None:
    output = EngineOutput(structlog.get_logger())
    with capture_logs() as logs:
        for piece in (b"on", b"e\ntwo\nthr", b"ee", b"\n", b"\xff\n", b"last"):
            output.data_received(piece)
        output.connection_lost(None)
    assert [entry["line"] for entry in logs] == ["one", "two", "three", "�", "last"]
