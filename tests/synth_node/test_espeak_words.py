"""When espeak-ng's words are heard, what it reads as SSML, and what it says of marks alone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any, Final

import pytest

from antiphon.errors import InvalidRequest
from synth_node.host import EngineRequest, EngineWord
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions

GUARD_S: Final = 30.0
RATE: Final = 22050
NAMES: Final = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage"),
    *("shimmer", "verse"),
)


@pytest.fixture
async def host() -> AsyncIterator[EngineHost]:
    async with EngineHost("espeak", slot=0, options=EngineOptions(idle_s=GUARD_S)) as running:
        yield running


async def speak(host: EngineHost, text: str, **options: Any) -> tuple[bytes, list[EngineWord]]:
    """Return the samples and the words; check that these come in order and before their audio."""
    pcm, words = bytearray(), []
    async with asyncio.timeout(GUARD_S):
        await host.ready()
        utterance = host.speak(EngineRequest(text, **{"timestamps": True, **options}))
        try:
            while (piece := await utterance.next()) is not None:
                pcm += piece
                words += utterance.take_words()
        finally:
            host.leave(utterance)
    assert all(word.end * 2 <= len(pcm) for word in words)
    assert all(a.end <= b.start and a.offset + a.length <= b.offset for a, b in pairwise(words))
    return bytes(pcm), words


def sounds(pcm: bytes, pause_s: float) -> list[tuple[int, int]]:
    """Return where the sounds between pauses begin and end, in samples."""
    pauses = [match.span() for match in re.finditer(b"\0{%d,}" % round(2 * pause_s * RATE), pcm)]
    begins, ends = [0, *(end for _, end in pauses)], [*(begin for begin, _ in pauses), len(pcm)]
    found = []
    for begin, end in zip(begins, ends, strict=True):
        if sound := pcm[begin:end].strip(b"\0"):
            start = begin + pcm[begin:end].index(sound)
            found.append((start // 2, (start + len(sound) + 1) // 2))
    return found


@pytest.mark.parametrize(("speed", "pause_s", "tolerance_s"), [(1.0, 0.1, 0.001), (3.0, 0.0065, 0.03)])
async def test_words_are_heard_when_they_say_so_to_the_end_of_a_long_text(
    host: EngineHost, speed: float, pause_s: float, tolerance_s: float
) -> None:
    text = ", ".join(["papa", "kilo", "mama", "echo", "alpha", "lima", "mike", "one", "zulu", "nine"] * 25)
    pcm, words = await speak(host, text, speed=speed)
    assert [text[o : o + n] for o, n, _, _ in words] == re.findall(r"\w+", text)
    heard = sounds(pcm, pause_s)
    for word in (words[0], *words[-20:]):  # the last ones as exactly as the first: nothing adds up
        nearest = min(heard, key=lambda sound: abs(sound[0] - word.start))
        assert abs(nearest[0] - word.start) <= tolerance_s * RATE
        if speed == 1.0:
            assert abs(nearest[1] - word.end) <= tolerance_s * RATE
    if speed == 1.0:
        assert len(heard) == len(words)


@pytest.mark.parametrize(
    ("text", "voice", "expected"),
    [
        ("hello, hello. Next\n\none", None, "hello|hello|Next|one"),
        ("one 😀 tw\u00f6  e\u0301te\t(six)", None, "one|😀|tw\u00f6|e\u0301te|six"),
        ("the end 😀.", None, "the|end|😀"),
        ("alpha. india. foo", None, "alpha|india|foo"),
        ("a\0b c", None, "a|b|c"),
        ("I owe 1,234 dollars (e.g. don't)", None, "I|owe|1,234|dollars|e.g|don't"),
        ("你好，世界。我在2024年", "cmn", "你好|世|界|我|在|2024|年"),
        ("日本語 東京", "ja", "日本語|東京"),
        ("नमस्ते दुनिया", "hi", "नमस्ते|दुनिया"),
    ],
)
async def test_words_are_where_they_stand_in_the_text(
    host: EngineHost, text: str, voice: str | None, expected: str
) -> None:
    _, words = await speak(host, text, voice=voice)
    assert [text[o : o + n] for o, n, _, _ in words] == expected.split("|")


async def test_words_are_told_only_on_request(host: EngineHost) -> None:
    assert (await speak(host, "hello you", timestamps=False))[1] == []


async def test_words_of_ssml_are_where_they_stand_in_its_source(host: EngineHost) -> None:
    text = (
        '<?xml version="1.0"?>\r\n<speak><!-- a > b --><p>caf&#233;s &amp;</p>'
        '<sub alias="World Wide">WW</sub> AT&amp;T <![CDATA[cd <x &]]> <prosody rate="slow">'
        'fo<mark name="m"/>ur</prosody>'
        '<audio src="/x.wav">five</audio> <phoneme alphabet="espeak" ph="a">six</phoneme></speak>'
    )
    _, words = await speak(host, text, input_type="ssml")
    told = [text[o : o + n] for o, n, _, _ in words]
    assert told == ["caf&#233;s", "&amp;", "WW", "AT&amp;T", "cd", "x", "&", "fo", "ur", "five", "six"]


async def test_ssml_is_obeyed_and_does_not_outlast_its_utterance(host: EngineHost) -> None:
    async def seconds(text: str, input_type: str = "ssml") -> float:
        pcm, _ = await speak(host, text, input_type=input_type, timestamps=False)
        return len(pcm) / 2 / RATE

    text = await seconds("hello you", "text")
    plain = await seconds("<speak>hello you</speak>")
    slow = "<speak><prosody rate='50%' pitch='high'><voice name='de'>hello you</voice></prosody></speak>"
    assert await seconds(slow) > 1.3 * plain
    assert await seconds("<speak>hello<break time='1.5s'/>you</speak>") == pytest.approx(plain + 1.5, abs=0.3)
    assert await seconds("<speak><break time='1s'/></speak>") > 0.4
    assert await seconds("hello you", "text") == pytest.approx(text, rel=0.1)
    assert await seconds("<b>hello you</b>", "text") > 1.3 * plain, "without SSML, markup is text"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<speak>hello", "line 1, column 13"),
        ("<speak>\n<p></speak>", "mismatched tag in line 2"),
        ("hello", "not well-formed"),
        ("<p>hello</p>", "a speak element"),
        ("<speak>&foo;</speak>", "undefined entity"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><speak>&b;</speak>', "document type"),
        ("<speak>" + "<p>" * 30 + "</p>" * 30 + "</speak>", "nested"),
        ("<speak>\0</speak>", "not well-formed"),
    ],
)
async def test_what_is_no_ssml_is_refused_with_a_reason(host: EngineHost, text: str, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason) as caught:
        await speak(host, text, input_type="ssml")
    assert caught.value.param == "text"
    assert (await speak(host, "hello"))[0]


@pytest.mark.parametrize("text", [".", "?!", "...", "()", "。", "—"])
async def test_marks_alone_are_a_silence(host: EngineHost, text: str) -> None:
    pcm, words = await speak(host, text)
    assert len(pcm) >= 2 * 0.1 * RATE
    assert words == []


async def test_letters_that_make_no_sound_are_nothing(host: EngineHost) -> None:
    assert (await speak(host, "<speak><desc>hello</desc></speak>", input_type="ssml"))[0].strip(b"\0") == b""
    assert (await speak(host, "ꓮ", voice="ja", timestamps=False))[0].strip(b"\0") != b""


async def test_every_name_of_openais_voices_is_a_voice_of_its_own(host: EngineHost) -> None:
    assert set(host.info.aliases) == set(NAMES)
    spoken = {(await speak(host, "Hello, my friend.", voice=name))[0] for name in NAMES}
    assert len(spoken) == len(NAMES)
    named = [host.info.aliases[name] for name in NAMES]
    assert len(set(named)) == len(NAMES)
