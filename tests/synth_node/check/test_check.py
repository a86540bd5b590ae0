"""Each defect of an engine is found and named; a sound engine has no problem."""

from __future__ import annotations

import asyncio

import pytest

from synth_node.check import pace
from synth_node.check.finding import Verdict, exit_status
from synth_node.host import EngineUnavailable
from tests.synth_node.check.support_check import DEFECTS, ENGINES, TEXT, check

GUARD_S = 30.0
GERMAN = "Guten Morgen, liebe Leute."


@pytest.mark.parametrize(
    ("engine", "form"),
    [
        ("espeak", "built-in engine; takes the whole request; gives samples at 22050 Hz"),
        ("tone", "built-in engine; takes the whole request; gives samples at 22050 Hz"),
        ("whole_file", "function; takes the text; gives whole files"),
        ("generator", "generator; takes the text, voice, speed; gives samples at 8000 Hz"),
        ("async_function", "async function; takes the text; gives whole files"),
        ("async_generator", "async generator; takes the text; gives samples at 8000 Hz"),
        ("Whole", "class (generator); takes the whole request; gives samples at 8000 Hz"),
        ("Batches", "class of batches (function); takes the whole request; gives samples at 8000 Hz"),
    ],
)
async def test_a_sound_engine_has_nothing_to_be_told(engine: str, form: str) -> None:
    checked = await check(engine)
    assert (checked.problems, checked["form"].value) == ([], form)
    # How long a call takes is the machine's matter, too.
    assert set(checked.warnings) <= {"first audio", "real time", "first call", "cancel", "memory"}
    assert exit_status(checked.findings) == 0


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        ("clipped", "clipping", "% of the samples"),
        ("overflowing", "clipping", "jumps over the scale"),
        ("silent", "level", "silence"),
        ("floating", "samples", "they look like 32-bit floating-point samples"),
        ("double", "samples", "they look like 64-bit floating-point samples"),
        ("big_endian", "samples", "they look like 16-bit samples with the high byte first"),
        ("stereo", "samples", "they look like two channels"),
        ("one_sided", "samples", "they look like two channels"),
        ("wav_pieces", "samples", "they look like 5 WAV files"),
        ("noise", "samples", "they look like noise"),
        ("bare_samples", "file", "it is no audio file"),
        ("glued_files", "file", "2 wav files, one behind the other"),
        ("broken_file", "file", "cannot be decoded"),
        ("one_speed", "speed", "at speed 2 it lasts 1 times as long"),
        ("length_scale", "speed", "at speed 2 it lasts 2 times as long"),
        ("dumb_voice", "voice", "b: KeyError: 'b'"),
        ("emoji_crash", "odd text", "emoji: the engine died of SIGSEGV; started again in "),
        ("raises", "speech", "RuntimeError: no weights"),
        ("nothing", "speech", "the engine returned None; it must return bytes"),
        ("empty", "speech", "no audio"),
        ("dies", "speech", "the engine ended with exit status 3; started again in "),
        ("dies_later", "speech", "the engine ended with exit status 3; started again in "),
        ("endless", "speech", "bytes of audio and did not end"),
    ],
)
async def test_what_callers_must_not_hear_is_a_problem(engine: str, name: str, value: str) -> None:
    checked = await check(engine)
    assert checked.problems[0] == name
    assert checked[name].verdict is Verdict.PROBLEM
    assert value in checked[name].value
    assert checked[name].advice
    assert exit_status(checked.findings) == 1


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        ("soft", "level", "peak -4"),
        ("offset", "offset", "9.1 % of full scale"),
        ("slow_to_begin", "silence", "1.00 s before the sound"),
        ("slow_to_end", "silence", "2.00 s behind it"),
        ("cut_in_half", "samples", "an odd number of bytes"),
        ("wrong_rate", "duration", "s of sound for 24 characters"),
        ("moody", "repeats itself", "lengths differ by "),
        ("by_process", "second process", "lengths differ by "),
        ("one_voice", "voice", "b: sounds just as a"),
        ("latin_only", "odd text", "emoji: UnicodeEncodeError"),
        ("short_texts", "long text", "characters: IndexError: more than 500 positions"),
        ("leaks", "memory", "KiB with each utterance"),
        ("indiscreet", "printed", " lines"),
        ("Blocks", "cancel", "free again after "),
        ("Sticky", "close", "killed"),
    ],
)
async def test_what_an_author_should_know_is_a_warning(engine: str, name: str, value: str) -> None:
    checked = await check(engine, utterances=2 if engine == "Blocks" else 4)
    assert checked.problems == []
    assert name in checked.warnings
    assert value in checked[name].value
    assert checked[name].advice
    assert exit_status(checked.findings) == 0


async def test_a_wrong_rate_is_guessed_from_the_length_of_the_text() -> None:
    checked = await check("wrong_rate", texts=(TEXT, GERMAN))
    assert (
        checked["duration"].advice
        == "0.5 times as long as usual: is 16000 Hz right? 8000 Hz would fit better."
    )


async def test_a_leak_is_measured() -> None:
    growth = (await check("leaks", utterances=8))["memory"].measured
    assert growth is not None
    assert growth["growth_bytes"] == pytest.approx(1024 * 1024, rel=0.3)


async def test_an_engine_no_faster_than_its_speech_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_LATE_S", 0.1)
    checked = await check("slow", texts=("Good.",), utterances=2)
    assert {"first audio", "real time"} <= set(checked.warnings)
    assert checked.problems == []


async def test_a_cold_first_call_is_a_warning() -> None:
    checked = await check("cold")
    assert "first call" in checked.warnings
    assert "SYNTH_WARM_UP" in checked["first call"].advice


async def test_whether_it_streams_is_told() -> None:
    streams = [(await check(engine))["first audio"].measured for engine in ("one_by_one", "whole_file")]
    assert [measured and measured["streams"] for measured in streams] == [True, False]


async def test_what_an_engine_prints_is_counted_and_is_no_harm() -> None:
    checked = await check("talkative")
    assert checked["printed"].verdict is Verdict.OK
    assert checked.printed.n_lines >= 5
    assert "speaking with" in checked.printed.lines[0]


async def test_an_engine_that_hangs_is_killed_and_named() -> None:
    async with asyncio.timeout(GUARD_S):
        checked = await check("hangs", hang_s=0.3)
    assert checked.problems == ["speech"]
    assert checked["speech"].value.startswith("the engine was silent for 0.3 s; started again in ")


async def test_when_the_time_is_over_an_engine_that_never_spoke_is_a_problem() -> None:
    async with asyncio.timeout(GUARD_S):
        checked = await check("hangs", timeout_s=0.5)
    assert checked.problems == ["speech"]
    assert checked["speech"].value == "no utterance was over within 0.5 s"


async def test_when_the_time_is_over_the_rest_is_listed_as_not_checked() -> None:
    checked = await check("hangs_on_a_stop", timeout_s=3.0)
    assert checked.problems == []
    assert checked["odd text"].value == checked["long text"].value == "not checked: 3 s are over"
    assert checked["second process"].verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        ("no_such", "has no 'no_such'"),
        ("without_text", "without_text does not take the text as its first parameter"),
        ("nowhere.py:tts_api", "there is no file nowhere.py"),
        ("RATE", "is no engine: it is of type int, which cannot be called"),
    ],
)
async def test_what_cannot_be_loaded_is_one_sentence(engine: str, sentence: str) -> None:
    with pytest.raises(EngineUnavailable, match=sentence):
        await check(engine)


async def test_a_default_voice_that_does_not_exist_cannot_be_used() -> None:
    with pytest.raises(EngineUnavailable, match="has no voice 'high', which is to be the default"):
        await check(f"{ENGINES / 'defects.py'}:one_voice", voice="high")


async def test_settings_that_share_or_replace_processes_do_not_disturb_the_check() -> None:
    checked = await check("leaks", slots=4, processes=2, recycle_after=1, memory_mib=8)
    assert (checked.problems, checked["second process"].verdict) == ([], Verdict.OK)
    assert "memory" in checked.warnings


async def test_the_default_voice_is_that_of_the_settings() -> None:
    low, high = [(await check("generator", voice=voice)) for voice in ("low", "high")]
    assert low.problems == high.problems == []
    assert str(DEFECTS) not in low["voices"].value
