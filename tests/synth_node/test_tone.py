"""The tone engine: deterministic, as long as its text."""

from __future__ import annotations

import pytest

from antiphon.errors import UnknownVoice
from antiphon.request import SpeechRequest
from synth_node.synthesizer import EncodedAudio, Synthesizer
from tests.synth_node.process.support_engine import synthesizer_of


async def speak(synthesizer: Synthesizer, request: SpeechRequest) -> tuple[bytes, float]:
    spoken = [piece async for piece in synthesizer.speak(request)]
    pieces = [piece for piece in spoken if isinstance(piece, EncodedAudio)]
    return b"".join(piece.data for piece in pieces), round(sum(piece.duration_s for piece in pieces), 6)


async def test_it_is_as_long_as_its_text_and_always_the_same() -> None:
    async with synthesizer_of("tone") as synthesizer:
        first = await speak(synthesizer, SpeechRequest("x" * 100))
        assert first[1] == pytest.approx(6.0, abs=0.001)
        assert await speak(synthesizer, SpeechRequest("y" * 100)) == first
        assert (await speak(synthesizer, SpeechRequest("x" * 100, speed=2.0)))[1] == pytest.approx(
            3.0, abs=0.001
        )
    async with synthesizer_of("tone") as synthesizer:
        assert await speak(synthesizer, SpeechRequest("x" * 100, voice="a4")) == first
        low = await speak(synthesizer, SpeechRequest("x" * 100, voice="a3"))
        assert low[0] != first[0]
        assert low[1] == first[1]
        with pytest.raises(UnknownVoice):
            await speak(synthesizer, SpeechRequest("x", voice="h7"))
