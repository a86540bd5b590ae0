"""How long an engine may work on one segment: real engine processes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final

import pytest

from antiphon.errors import EngineCrashed
from antiphon.request import SpeechRequest
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from synth_node.process.utterance import MAX_BUFFERED_BYTES
from synth_node.synthesizer import EncodedAudio, Synthesizer
from synth_node.working_time import WorkingTime
from tests.synth_node.conftest import FAULTS, GUARD_S, soon


def host(**options: float) -> EngineHost:
    return EngineHost(FAULTS, slot=0, options=EngineOptions(**options))  # type: ignore[arg-type]


async def speak(synthesizer: Synthesizer, text: str) -> float:
    """Return the duration of the audio."""
    async with asyncio.timeout(GUARD_S):
        pieces = [piece async for piece in synthesizer.speak(SpeechRequest(text, format="pcm"))]
    return sum(piece.duration_s for piece in pieces if isinstance(piece, EncodedAudio))


@pytest.mark.parametrize("text", ["stream 0.05", "sleep 3600", "hang_in_c"])
async def test_an_engine_that_works_for_too_long_is_killed_and_started_again(text: str) -> None:
    bound_s = 0.3 + len(text) * 0.01
    async with host(segment_s=0.3, segment_s_per_character=0.01) as each:
        synthesizer = Synthesizer(each)
        with pytest.raises(EngineCrashed, match=f"worked for {bound_s:g} s on {len(text)} characters"):
            await speak(synthesizer, text)
        assert await speak(synthesizer, "fine") == pytest.approx(1.0)


async def test_the_bound_grows_with_the_text() -> None:
    async with host(segment_s=0.1, segment_s_per_character=1.0) as each:
        assert await speak(Synthesizer(each), "sleep 0.5") == pytest.approx(1.0)


async def test_time_in_which_nobody_takes_the_audio_does_not_count() -> None:
    n_bytes = 4 * MAX_BUFFERED_BYTES
    text = f"return bytes({n_bytes})"
    async with host(segment_s=1.0, segment_s_per_character=0.0) as each:
        synthesizer = Synthesizer(each)
        async with asyncio.timeout(GUARD_S), aclosing(synthesizer.speak(SpeechRequest(text))) as pieces:
            heard_s = 0.0
            async for piece in pieces:
                if isinstance(piece, EncodedAudio):
                    if heard_s == 0.0:
                        await asyncio.sleep(1.5)
                    heard_s += piece.duration_s
        assert heard_s == pytest.approx(n_bytes / 16_000)
        assert 0 < each.seconds_per_character * len(text) < 1.0


async def test_the_clock_stands_and_goes_on() -> None:
    ended = asyncio.Event()
    clock = WorkingTime(0.2, ended.set)
    assert clock.seconds == 0.0
    clock.run()
    clock.run()
    await soon(lambda: clock.seconds > 0.02, "it runs")
    clock.stop()
    clock.stop()
    stands_at: Final = clock.seconds
    await asyncio.sleep(0.3)
    assert clock.seconds == stands_at
    assert not ended.is_set()
    clock.run()
    async with asyncio.timeout(GUARD_S):
        await ended.wait()
    assert clock.seconds > 0.19
