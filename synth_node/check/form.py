"""What the engine is, what it takes, and its voices."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from antiphon.errors import UnknownVoice
from synth_node.check.failure import failure_of
from synth_node.check.finding import Finding, Measured, ok, problem, warning
from synth_node.check.trial import Trial

_MOST_VOICES: Final = 6
_VOICES_SHARE: Final = 0.2
"""Of the time for the check, what trying voices may take."""
_NO_VOICE: Final = "antiphon-no-such-voice"


async def check_signature(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Tell what form of engine it is and what it will be given."""
    info = trial.info
    if trial.process is None:
        yield ok(
            "form", "engine behind the network", "It has no process here: what it does there is not seen."
        )
        return
    gives = "whole files" if info.sample_rate is None else f"samples at {info.sample_rate} Hz"
    takes = "the whole request" if info.options is None else ", ".join(("the text", *info.options))
    value = f"{info.form}; takes {takes}; gives {gives}"
    measured: Measured = {"form": info.form, "takes": takes, "sample_rate": info.sample_rate}
    yield ok("form", value, _what_follows(trial), measured)


def _what_follows(trial: Trial) -> str:
    options = trial.info.options
    sentences = []
    if options is not None and "voice" not in options:
        sentences.append("Without a parameter voice, the voice that a request names makes no difference.")
    if options is not None and "speed" not in options:
        sentences.append("Without a parameter speed, a request for a speed other than 1 is refused.")
    return " ".join(sentences)


async def check_voices(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Let each voice speak, up to a number, and one that does not exist."""
    async for finding in _listed(trial):
        yield finding
    yield await _unknown(trial)


async def _listed(trial: Trial) -> AsyncGenerator[Finding, None]:
    info = trial.info
    takes_voice = info.options is None or "voice" in info.options
    measured: Measured = {"voices": len(info.voices)}
    if info.voices and not takes_voice:
        advice = "Declare a parameter voice: without it every voice sounds the same."
        yield warning("voices", f"{len(info.voices)} listed, but none is passed", advice, measured)
    elif info.voices:
        async for finding in _tried(trial):
            yield finding
    elif info.options is not None and takes_voice:
        advice = "Give it a list `voices`: callers see it, and any other name is refused at once."
        yield warning("voices", "none listed, though the function takes one", advice, measured)
    else:
        yield ok("voices", "none listed", measured=measured)


async def _tried(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Let each voice speak, up to a number."""
    voices = trial.info.voices
    began_s = trial.rest_s
    sounds: dict[bytes, str] = {}
    n_tried = 0
    for voice in voices[:_MOST_VOICES]:
        if n_tried and began_s - trial.rest_s > _VOICES_SHARE * trial.wish.timeout_s:
            break
        n_tried += 1
        heard = await trial.speak(trial.wish.texts[0], voice=voice.id)
        crash = await failure_of(trial, "voice", heard, voice.id)
        if crash is not None and heard.crashed:
            yield crash
        elif heard.failure is not None or not heard.audio:
            value = f"{voice.id}: {heard.failure or 'no audio'}"
            yield problem("voice", value, "Every voice in the list has to speak.")
        elif (same := sounds.setdefault(heard.audio, voice.id)) != voice.id:
            advice = "The audio is the same to the byte: is the voice used?"
            yield warning("voice", f"{voice.id}: sounds just as {same}", advice)
    measured: Measured = {"voices": len(voices), "voices_tried": n_tried}
    yield ok("voices", f"{len(voices)} listed, {n_tried} tried", measured=measured)


async def _unknown(trial: Trial) -> Finding:
    """Ask for a voice that does not exist."""
    heard = await trial.speak(trial.wish.texts[0], voice=_NO_VOICE)
    info, failure = trial.info, heard.failure
    measured: Measured = {"code": None if failure is None else failure.code}
    if isinstance(failure, UnknownVoice):
        return ok("unknown voice", "refused, unknown_voice", measured=measured)
    advice = "List the `voices`, or raise an exception with antiphon_code = 'unknown_voice'."
    if found := await failure_of(trial, "unknown voice", heard, advice=advice):
        return found
    if failure is not None:
        return warning("unknown voice", f"refused, but with {failure.code}", advice, measured)
    if info.voices:
        return problem(
            "unknown voice", "accepted, though voices are listed", "Refuse it: a caller has mistyped."
        )
    return ok("unknown voice", "accepted: any is", measured=measured)
