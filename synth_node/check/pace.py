"""How fast the engine is, whether it repeats itself, and what it needs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from statistics import median
from typing import Final

from antiphon.errors import InvalidRequest, SpeechError
from synth_node.check.failure import failure_of
from synth_node.check.finding import Finding, Measured, ok, problem, warning
from synth_node.check.memory import growth_bytes
from synth_node.check.sound import measure
from synth_node.check.trial import Heard, Trial

_MIB: Final = 1024 * 1024
_PACE_SHARE: Final = 0.4
"""Of the time for the check, what measuring the pace may take."""
_MOST_FAILURES: Final = 3
_SLOW_START_SHARE: Final = 0.5
_LATE_S: Final = 1.0
_EARLY_SHARE: Final = 0.7
_TIGHT_FACTOR: Final = 0.8
_WARM_UP_FACTOR: Final = 3.0
_WARM_UP_S: Final = 0.3
_LEAK_BYTES: Final = 64 * 1024
SAME_S: Final = 0.02
_FAST: Final = 2.0
_HALF: Final = 0.35, 0.7
_ONE: Final = 0.9, 1.1


class CannotSpeak(Exception):
    """It does not even speak a plain text; no other check means anything. finding: why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.value)
        self.finding = finding


async def check_start(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Tell how long it took to start."""
    process, most_s = trial.process, trial.settings.start_s
    if process is None:
        return
    value, measured = f"{process.start_up_s:.2f} s", {"start_up_s": round(process.start_up_s, 3)}
    if process.start_up_s <= _SLOW_START_SHARE * most_s:
        yield ok("start-up", value, measured=measured)
    else:
        advice = f"More than {most_s:g} s would be too long: raise SYNTH_START_S."
        yield warning("start-up", value, advice, measured)


async def check_pace(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Speak the texts in turn. Raises CannotSpeak."""
    texts = trial.wish.texts
    first = await trial.speak(texts[0])
    if (failure := await _failure(trial, first)) is not None:
        raise CannotSpeak(failure)
    n_failures, n_least = 0, 2 * len(texts)
    began_s = trial.rest_s
    for index in range(max(trial.wish.utterances, n_least)):
        is_slow = began_s - trial.rest_s > _PACE_SHARE * trial.wish.timeout_s
        if (index >= n_least and is_slow) or n_failures >= _MOST_FAILURES:
            break
        heard = await trial.speak(texts[index % len(texts)])
        if (failure := await _failure(trial, heard)) is not None:
            n_failures += 1
            yield failure
        else:
            trial.spoken.append(heard)
            trial.note_memory()
    if not trial.spoken:
        raise CannotSpeak(
            problem("speech", "only the first utterance was spoken", "It has to speak more than once.")
        )
    again = [heard for heard in trial.spoken if heard.text == texts[0]] or [first]
    for finding in (_first_audio(trial), _real_time(trial), _warm_up(first, again), _same_again(again)):
        yield finding


async def _failure(trial: Trial, heard: Heard) -> Finding | None:
    """Return why a plain sentence is not spoken, which is always a problem."""
    failure, check = heard.failure, "speech"
    found = await failure_of(trial, check, heard)
    if found is None and failure is None and not heard.audio:
        return problem(check, "no audio", "It returned no bytes, or yielded none, for a plain sentence.")
    if failure is None or heard.crashed:
        return found
    advice = "Callers get this as an error; what it printed, below, says where it comes from."
    return problem(check, str(failure), advice, {"code": failure.code})


def _first_audio(trial: Trial) -> Finding:
    first_s = median(heard.first_s or heard.total_s for heard in trial.spoken)
    total_s = median(heard.total_s for heard in trial.spoken)
    streams = first_s < _EARLY_SHARE * total_s
    value = f"{_time(first_s)} after the request, " + ("the rest later" if streams else "all at once")
    measured: Measured = {
        "first_audio_s": round(first_s, 4),
        "total_s": round(total_s, 4),
        "streams": streams,
    }
    if first_s <= _LATE_S:
        return ok("first audio", value, measured=measured)
    advice = "So long a caller waits for the first sentence: yield pieces as they are made."
    return warning("first audio", value, advice, measured=measured)


def _real_time(trial: Trial) -> Finding:
    total_s = sum(heard.total_s for heard in trial.spoken)
    audio_s = sum(duration_s(heard) for heard in trial.spoken)
    per_character_s = trial.per_character_s
    factor = total_s / audio_s if audio_s else 0.0
    value = f"{factor:.3g} s for a second of audio, {_time(per_character_s)} for a character"
    measured: Measured = {
        "real_time_factor": round(factor, 4),
        "seconds_per_character": round(per_character_s, 6),
    }
    if not audio_s or factor < _TIGHT_FACTOR:
        return ok("real time", value, measured=measured)
    advice = "It is hardly faster than speech, or slower: streams will have gaps while no other slot is idle."
    return warning("real time", value, advice, measured=measured)


def duration_s(heard: Heard) -> float:
    """Return how long its audio is, in seconds; 0.0 for a file that is none."""
    try:
        rate, pcm = heard.samples()
    except SpeechError:  # told where the file is looked at
        return 0.0
    return len(pcm) / 2 / rate


def _warm_up(first: Heard, later: list[Heard]) -> Finding:
    later_s = median(heard.total_s for heard in later)
    value = f"{_time(first.total_s)}, later {_time(later_s)}"
    measured: Measured = {"first_utterance_s": round(first.total_s, 4), "later_s": round(later_s, 4)}
    if first.total_s < _WARM_UP_FACTOR * later_s or first.total_s - later_s < _WARM_UP_S:
        return ok("first call", value, measured=measured)
    advice = (
        "Set SYNTH_WARM_UP to a text, or speak one where the model is loaded: no caller has to wait for that."
    )
    return warning("first call", value, advice, measured=measured)


def _same_again(spoken: list[Heard]) -> Finding:
    """Tell how much utterances of the same text differ."""
    spread_s = spread_of(spoken)
    identical = len({heard.audio for heard in spoken}) == 1
    measured: Measured = {"identical": identical, "spread_s": round(spread_s, 3)}
    if identical:
        follows = "A stream that loses its node is carried on by another at the very sample."
        return ok("repeats itself", f"the same bytes, {len(spoken)} times", follows, measured)
    follows = (
        "A stream that loses its node within a sentence is carried on close to that place, not exactly there"
    )
    if spread_s <= SAME_S:
        return ok("repeats itself", "the same length, other bytes", f"{follows}.", measured)
    advice = f"{follows}; a fixed seed for each utterance makes it exact."
    return warning("repeats itself", f"lengths differ by {spread_s:.2f} s", advice, measured)


def spread_of(spoken: list[Heard]) -> float:
    """Return by how many seconds the longest of some utterances is longer than the shortest."""
    seconds = [duration_s(heard) for heard in spoken]
    return max(seconds) - min(seconds)


async def check_speed(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Speak twice as fast."""
    text = max(trial.wish.texts, key=len)
    normal = next((heard for heard in trial.spoken if heard.text == text), None) or await trial.speak(text)
    fast = await trial.speak(text, speed=_FAST)
    crash = await failure_of(trial, "speed", fast)
    if isinstance(fast.failure, InvalidRequest):
        yield ok("speed", "other than 1 is refused, invalid_request", measured={"refused": True})
    elif crash is not None and fast.crashed:
        yield crash
    elif fast.failure is not None:
        advice = "Speed 2 has to work or to be refused: leave the parameter out, or set antiphon_code."
        yield problem("speed", f"at 2: {fast.failure}", advice)
    else:
        with suppress(SpeechError):  # told where the file is looked at
            yield _speed(
                _speech_s(fast) / (_speech_s(normal) or 1.0), declared=trial.info.options is not None
            )


def _speed(ratio: float, *, declared: bool) -> Finding:
    """Judge how many times as long the audio is at speed 2. declared: a parameter says that speed counts."""
    value = f"at speed 2 it lasts {ratio:.2g} times as long"
    measured: Measured = {"length_at_speed_2": round(ratio, 3)}
    if _HALF[0] <= ratio <= _HALF[1]:
        return ok("speed", value, measured=measured)
    if _ONE[0] <= ratio <= _ONE[1]:
        if declared:
            advice = "It is declared and makes no difference: use it, or leave it out."
            return problem("speed", value, advice, measured)
        advice = "It makes no difference: use it, or raise what has antiphon_code = 'invalid_request'."
        return warning("speed", value, advice, measured)
    if ratio > 1:
        advice = "It is a factor: 2 is twice as fast. A length scale is 1 / speed."
        return problem("speed", value, advice, measured)
    return warning("speed", value, "It is a factor: at 2 it should last about half as long.", measured)


def _speech_s(heard: Heard) -> float:
    """Return how long it sounds. Raises BadAudio."""
    rate, pcm = heard.samples()
    return measure(pcm, rate).speech_s


async def check_memory(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Tell how much memory it has, and whether each utterance takes more."""
    if trial.process is None:
        return
    if not trial.memory:
        yield ok("memory", "not measured: only Linux tells")
        return
    resident = trial.memory[-1].resident
    growth = growth_bytes([memory.own for memory in trial.memory])
    value = f"{resident / _MIB:.0f} MiB, {growth / 1024:+.0f} KiB with each utterance"
    measured: Measured = {"resident_bytes": resident, "growth_bytes": round(growth)}
    if growth <= _LEAK_BYTES:
        yield ok("memory", value, measured=measured)
    else:
        advice = "Does it go on with --utterances 100? SYNTH_RECYCLE_AFTER or SYNTH_MEMORY_MIB bounds it."
        yield warning("memory", value, advice, measured)


def _time(seconds: float) -> str:
    """Return a time with three digits, in the unit that suits it."""
    for unit, factor in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e6:.0f} µs"
