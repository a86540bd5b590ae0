"""What a user's engine may declare beyond audio: SSML, aliases and word times."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import pytest

from antiphon.errors import EngineFailed, InvalidRequest, SpeechError, UnknownVoice
from antiphon.heartbeat import MAX_VOICE_CHARACTERS, MAX_VOICES
from synth_node.engines import user
from synth_node.host import EngineRequest, EngineUnavailable, EngineWord
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions

GUARD_S: Final = 20.0
SAMPLES: Final = bytes(2 * 800)
ENGINES: Final = """
from array import array

class Timed:
    sample_rate = 8000
    words = ssml = True
    voices = ["anna", "ben"]
    aliases = {"alloy": "anna"}
    def synthesize(self, request):
        assert request.voice in (None, "anna", "ben")
        yield eval(request.text) if request.text.startswith("(") else (0, 2, 0, 0.05)
        yield bytes(1600)
        yield 3, 3, 0.1, 0.15
        yield bytes(1600)

async def timed(text, *, timestamps=False):
    if timestamps:
        yield 0, 2, 0.0, 0.1
    yield bytes(1600)
timed.sample_rate, timed.words = 8000, True

def markup(text, input_type="text"):
    return bytes(1600) if input_type == "ssml" else bytes(3200)
markup.sample_rate, markup.ssml = 8000, True

def options(text, **options):
    return bytes(2 * len(options))
options.sample_rate = 8000

def all_options(text, **options):
    return bytes(2 * len(options))
all_options.sample_rate, all_options.words, all_options.ssml = 8000, True, True

def untimed(text):
    yield 0, 2, 0.0, 0.1
untimed.sample_rate = 8000

def file(text):
    return b""
file.words = True

def misled(text):
    return b""
misled.voices, misled.aliases = ["anna"], {"alloy": "nobody"}

def choir(text):
    return b""
choir.voices = [f"voice {n}" for n in range(300_000)]

def renamed(text):
    return b""
renamed.voices, renamed.aliases = ["anna"], {f"alias {n}": "anna" for n in range(2001)}

def spelled(text):
    return b""
spelled.voices = "anna"

class Hz:
    def __index__(self):
        return 8000

def numbered(text):
    return array("h", [0]) * 800
numbered.sample_rate = Hz()

def khz(text):
    return b""
khz.sample_rate = 24

def wordy(text):
    return b""
wordy.voices = [("anna", "Anna " * 41, "en")]

def broken(text):
    return b""
broken.voices = ["anna\\udcff"]
"""

RAISING: Final = """
import sys

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Odd(Exception):
    antiphon_code, param = "invalid_request", {1}

class Coded(Exception):
    antiphon_code = 7

class Hiding(Exception):
    def __getattr__(self, name):
        raise RuntimeError(name)

def function(text):
    if text == "closed":
        sys.stderr.close()
        raise ValueError(text)
    if (exc := eval(text)) is not None:
        raise exc
    return bytes(1600)
function.sample_rate = 8000

async def coroutine(text):
    return function(text)
coroutine.sample_rate = 8000

class Listing:
    sample_rate = 8000
    def synthesize_batch(self, requests):
        return [function(request.text) for request in requests]

class Yielding:
    sample_rate = 8000
    def synthesize_batch(self, requests):
        for index, request in enumerate(requests):
            yield index, function(request.text)
"""
EXCEPTIONS: Final[list[tuple[str, type[SpeechError], str]]] = [
    ("Mute()", EngineFailed, "Mute: (it cannot say what)"),
    ("Odd('mine')", InvalidRequest, "mine"),
    ("Coded('mine')", EngineFailed, "Coded: mine"),
    ("Hiding('mine')", EngineFailed, "Hiding: mine"),
    ("ValueError(chr(0xdc80))", EngineFailed, "ValueError: ?"),
    ("KeyboardInterrupt('mine')", EngineFailed, "KeyboardInterrupt: mine"),
    ("closed", EngineFailed, "ValueError: closed"),
]


async def speak(
    path: Path, engine: str, text: str = "ab cde", **options: Any
) -> tuple[bytes, list[EngineWord]]:
    """Speak once in a process of its own."""
    (path / "mine.py").write_text(ENGINES)
    spec = f"{path / 'mine.py'}:{engine}"
    pcm, words = b"", []
    async with (
        asyncio.timeout(GUARD_S),
        EngineHost(spec, slot=0, options=EngineOptions(idle_s=GUARD_S, start_s=GUARD_S)) as host,
    ):
        utterance = host.speak(EngineRequest(text, **options))
        try:
            while (piece := await utterance.next()) is not None:
                pcm += piece
            words = utterance.take_words()
        finally:
            host.leave(utterance)
    return pcm, words


async def test_words_are_yielded_between_the_pieces(tmp_path: Path) -> None:
    expected = [EngineWord(0, 2, 0, 400), EngineWord(3, 3, 800, 1200)]
    assert await speak(tmp_path, "Timed", timestamps=True) == (2 * SAMPLES, expected)
    assert await speak(tmp_path, "Timed") == (2 * SAMPLES, []), "not asked for, not told"
    assert await speak(tmp_path, "timed", timestamps=True) == (SAMPLES, [EngineWord(0, 2, 0, 800)])


@pytest.mark.parametrize("word", ["(0, 2)", "(0, 2, 0, 'x')", "(0, 2, 0, float('inf'))", "('a', 2, 0, 1)"])
async def test_a_word_that_is_none_is_named(tmp_path: Path, word: str) -> None:
    with pytest.raises(EngineFailed, match="as a word; it must be"):
        await speak(tmp_path, "Timed", word, timestamps=True)


async def test_a_tuple_from_an_engine_without_words_is_no_audio(tmp_path: Path) -> None:
    with pytest.raises(EngineFailed, match="tuple as a piece of audio"):
        await speak(tmp_path, "untimed")


async def test_an_alias_stands_for_its_voice(tmp_path: Path) -> None:
    assert (await speak(tmp_path, "Timed", voice="alloy"))[0]
    with pytest.raises(UnknownVoice, match="echo"):
        await speak(tmp_path, "Timed", voice="echo")


async def test_a_function_learns_of_ssml_by_a_parameter(tmp_path: Path) -> None:
    assert await speak(tmp_path, "markup", input_type="ssml") == (SAMPLES, [])
    assert await speak(tmp_path, "markup") == (2 * SAMPLES, [])


@pytest.mark.parametrize(("engine", "n_options"), [("options", 4), ("all_options", 6)])
async def test_options_of_what_an_engine_cannot_do_are_not_passed(
    tmp_path: Path, engine: str, n_options: int
) -> None:
    assert await speak(tmp_path, engine) == (bytes(2 * n_options), [])


@pytest.mark.parametrize(
    ("engine", "reason"),
    [
        ("file", "words but no sample_rate"),
        ("misled", "'nobody'"),
        ("choir", "choir: at most 2000 voices, and as many aliases, can be listed"),
        ("renamed", "renamed: at most 2000 voices"),
        ("spelled", "spelled: voices is 'anna', it must be a list"),
        ("khz", "khz: sample_rate is 24, it must be a whole number of Hz from 1000 to 384000"),
        ("wordy", "'Anna Anna Anna Anna '... is longer than 200 characters"),
        ("broken", r"broken: a voice's 'anna\\udcff' is no text"),
    ],
)
async def test_what_cannot_work_is_said_at_the_start(tmp_path: Path, engine: str, reason: str) -> None:
    with pytest.raises(EngineUnavailable, match=reason):
        await speak(tmp_path, engine)


async def test_any_integer_is_a_rate_and_an_array_all_of_the_audio(tmp_path: Path) -> None:
    assert await speak(tmp_path, "numbered") == (SAMPLES, [])


def test_both_ends_know_the_same_bounds_of_a_voice_list() -> None:
    assert (user.MAX_VOICES, user.MAX_VOICE_CHARACTERS) == (MAX_VOICES, MAX_VOICE_CHARACTERS)


@pytest.mark.parametrize("engine", ["function", "coroutine", "Listing", "Yielding"])
async def test_no_exception_of_an_engine_ends_its_process(tmp_path: Path, engine: str) -> None:
    (tmp_path / "mine.py").write_text(RAISING)
    spec, options = f"{tmp_path / 'mine.py'}:{engine}", EngineOptions(idle_s=GUARD_S, start_s=GUARD_S)

    async def said(text: str) -> bytes | SpeechError | None:
        await host.ready()
        utterance = host.speak(EngineRequest(text))
        try:
            return await utterance.next()
        except SpeechError as exc:
            return exc
        finally:
            host.leave(utterance)

    async with asyncio.timeout(2 * GUARD_S), EngineHost(spec, slot=0, options=options) as host:
        for text, error, told in EXCEPTIONS:
            failure = await said(text)
            assert isinstance(failure, error), text
            assert str(failure) == told
            assert failure.param is None
        assert await said("None") == SAMPLES
