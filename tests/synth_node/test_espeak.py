"""The espeak engine in its process: voices, speed, odd texts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from antiphon.errors import NothingToSpeak, UnknownVoice
from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from synth_node.synthesizer import EncodedAudio, Synthesizer
from tests.synth_node.process.support_engine import synthesizer_of

GUARD_S = 30.0


async def seconds(synthesizer: Synthesizer, text: str, **options: Any) -> float:
    async with asyncio.timeout(GUARD_S):
        pieces = synthesizer.speak(SpeechRequest(text, **options))
        return sum([piece.duration_s async for piece in pieces if isinstance(piece, EncodedAudio)])


async def test_every_listed_voice_speaks_by_its_id() -> None:
    async with synthesizer_of("espeak") as synthesizer:
        voices = synthesizer.info.voices
        assert len({voice.id for voice in voices}) == len(voices) > 100
        assert {"en-us", "de", "cmn", "yue"} <= {voice.id for voice in voices}
        assert all(voice.name and voice.language for voice in voices)
        for voice in voices:
            text = {"chr-US-Qaaa-x-west": "ᎣᏏᏲ", "cv": "салам", "sjn": "mae"}.get(voice.id, "1")
            assert await seconds(synthesizer, text, voice=voice.id) > 0.05, voice


@pytest.mark.parametrize(
    ("voice", "same_as"),
    [
        *(("EN-US", "en-us"), ("gmw/en-US", "en-us"), ("English (America)", "en-us"), ("zh", "cmn")),
        *(("sit/cmn", "cmn"), ("German", "de"), ("en-us+f3", "en-us+F3"), ("nb", "no"), (" de ", "de")),
    ],
)
async def test_a_voice_goes_by_identifier_language_and_name(voice: str, same_as: str) -> None:
    text = "one two three 123"
    durations = []
    for name in (voice, same_as):  # a fresh process each: only its first utterance is repeatable
        async with synthesizer_of("espeak") as synthesizer:
            durations.append(await seconds(synthesizer, text, voice=name))
    assert durations[0] == pytest.approx(durations[1])


@pytest.mark.parametrize("voice", ["xx", "../../etc/passwd", "en-us+zzz", "x" * 200, "\0", "+f3", "en-us\0"])
async def test_an_unknown_voice_is_refused_and_the_last_one_not_used(voice: str) -> None:
    async with synthesizer_of("espeak") as synthesizer:
        await seconds(synthesizer, "hello", voice="cmn")
        with pytest.raises(UnknownVoice) as unknown:
            await seconds(synthesizer, "hello", voice=voice)
        assert unknown.value.param == "voice"


async def test_voice_and_speed_do_not_outlast_their_utterance() -> None:
    text = "The quick brown fox jumps over the lazy dog, 123 times."
    async with synthesizer_of("espeak") as synthesizer:
        normal = await seconds(synthesizer, text)
        assert await seconds(synthesizer, text, speed=2.0) == pytest.approx(normal / 2, rel=0.2)
        assert await seconds(synthesizer, text, speed=0.5) > 1.5 * normal
        assert await seconds(synthesizer, text, speed=0.25) > 1.5 * normal
        assert await seconds(synthesizer, text, speed=4.0) < 0.5 * normal
        assert await seconds(synthesizer, text, voice="cmn") != pytest.approx(normal, rel=0.01)
        assert await seconds(synthesizer, text) == pytest.approx(normal, rel=0.02)


async def test_the_default_voice_can_be_set() -> None:
    text = "一二三"
    async with synthesizer_of("espeak") as synthesizer:
        as_asked = await seconds(synthesizer, text, voice="cmn")
    async with synthesizer_of("espeak", default_voice="cmn") as synthesizer:
        assert await seconds(synthesizer, text) == pytest.approx(as_asked)
    with pytest.raises(EngineUnavailable, match="klingonese"):
        async with synthesizer_of("espeak", default_voice="klingonese"):
            pass


async def test_chinese_is_spoken() -> None:
    async with synthesizer_of("espeak") as synthesizer:
        assert await seconds(synthesizer, "你好，世界。今天天气很好。", voice="cmn") > 1.5


async def test_odd_texts() -> None:
    async with synthesizer_of("espeak") as synthesizer:
        both = await seconds(synthesizer, "hello hello")
        assert await seconds(synthesizer, "hello\0hello") == pytest.approx(
            both, rel=0.1
        )  # not cut at the NUL
        for text in (
            "e\u0301" * 300,
            "<speak><break/></sp",
            "[[h@'loU]]",
            "😀 hello",
            "مرحبا",
            "a" * 5000,
            "\x1b[0m",
        ):
            assert await seconds(synthesizer, text) > 0
        for text in ("\ufeff", "\x01"):
            with pytest.raises(NothingToSpeak):
                await seconds(synthesizer, text)  # refused with the request
        assert await seconds(synthesizer, "hello") > 0.3
