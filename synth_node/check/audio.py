"""What is wrong with the audio that was heard."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Final

from antiphon.errors import BadAudio
from antiphon.mp3 import SAMPLE_RATES
from synth_node.audio.sniff import sniff
from synth_node.check.finding import Finding, Measured, ok, problem, warning
from synth_node.check.misread import n_files, resembles
from synth_node.check.sound import Sound, decibels, measure
from synth_node.check.trial import Heard, Trial
from synth_node.check.wish import usual_s

_RATES: Final = (*SAMPLE_RATES, 96_000)
_ODD_PACE: Final = 0.6, 1.7
_IMPOSSIBLE_PACE: Final = 0.25, 5.0
_NEAR: Final = 0.3
_SILENT: Final = 0.001
_SOFT_DB: Final = -30.0
_CLIPPED: Final = 0.0005
_BADLY_CLIPPED: Final = 0.01
_OFFSET: Final = 0.02
_LONG_LEAD_S: Final = 0.5
_LONG_TAIL_S: Final = 1.0
_TO_INT16: Final = "(samples.clip(-1, 1) * 32767).astype('<i2').tobytes()"
_REMEDIES: Final = {
    "32-bit floating-point samples": f"Convert them: {_TO_INT16}.",
    "64-bit floating-point samples": f"Convert them: {_TO_INT16}.",
    "two channels": "Give one: the mean of both, or the first: samples[::2].",
    "16-bit samples with the high byte first": "Convert them: samples.astype('<i2').tobytes().",
    "noise": "Are they 16-bit integers, low byte first, of one channel?",
}
_NO_FILES: Final = "Give the bare samples, or remove the attribute sample_rate: then files are understood."


async def check_audio(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Look at each different utterance; of each kind, the worst is told."""
    different = list({heard.audio: heard for heard in trial.spoken}.values())
    for finding in audio_findings(different):
        yield finding


def audio_findings(spoken: Sequence[Heard]) -> list[Finding]:
    """Return what can be said of complete utterances of one engine."""
    form = max((_form(heard) for heard in spoken), key=lambda finding: finding.verdict)
    if form.verdict:
        return [form]  # nothing else that could be measured would mean anything
    sounds = []
    for heard in spoken:
        rate, pcm = heard.samples()
        sounds.append((heard, rate, measure(pcm, rate)))
    all_findings = [_sound_findings(heard.text, rate, sound) for heard, rate, sound in sounds]
    return [
        form,
        *(max(same, key=lambda finding: finding.verdict) for same in zip(*all_findings, strict=True)),
    ]


def _form(heard: Heard) -> Finding:
    """Tell whether the bytes are what the engine says they are."""
    return _samples_form(heard) if heard.sample_rate else _file_form(heard)


def _samples_form(heard: Heard) -> Finding:
    found = resembles(heard.audio)
    if found is not None:
        advice = _REMEDIES.get(found, _NO_FILES)
        return problem("samples", f"they look like {found}", advice, {"looks_like": found})
    if len(heard.audio) % 2:
        return warning("samples", "an odd number of bytes", "A sample has two: the last one is cut in half.")
    return ok(
        "samples", f"16 bit, one channel, {heard.sample_rate} Hz", measured={"sample_rate": heard.sample_rate}
    )


def _file_form(heard: Heard) -> Finding:
    format = sniff(heard.audio)
    if format is None:
        advice = (
            "If these are samples, give the function an attribute sample_rate; else return an audio file."
        )
        return problem("file", "it is no audio file", advice)
    try:
        rate, pcm = heard.samples()
    except BadAudio as exc:
        return problem("file", f"{format}, {exc}", "Open one in a player: does it play?", {"format": format})
    if not pcm:
        return problem("file", f"{format} without audio in it", "Return a file with the speech in it.")
    n = n_files(heard.audio, format)
    if n > 1:
        advice = "Join the samples, then make one file of them: of several, players hear the first."
        return problem(
            "file", f"{n} {format} files, one behind the other", advice, {"format": format, "files": n}
        )
    return ok("file", f"{format}, {rate} Hz", measured={"format": format, "sample_rate": rate})


def _sound_findings(text: str, rate: int, sound: Sound) -> list[Finding]:
    """Return one finding of each kind, always in the same order."""
    return [_duration(text, rate, sound), _level(sound), _clipping(sound), _offset(sound), _silence(sound)]


def _duration(text: str, rate: int, sound: Sound) -> Finding:
    ratio = sound.speech_s / usual_s(text)
    value = f"{sound.speech_s:.2f} s of sound for {len(text)} characters"
    measured: Measured = {
        "speech_s": round(sound.speech_s, 3),
        "characters": len(text),
        "times_usual": round(ratio, 2),
    }
    if sound.peak < _SILENT or _ODD_PACE[0] <= ratio <= _ODD_PACE[1]:
        return ok("duration", value, measured=measured)
    likely = min(_RATES, key=lambda other: abs(other - rate * ratio))
    fits = abs(likely / rate - ratio) < _NEAR * ratio
    hint = f"{likely} Hz would fit better." if fits else "Is all of the text spoken?"
    advice = f"{ratio:.2g} times as long as usual: is {rate} Hz right? {hint}"
    impossible = not _IMPOSSIBLE_PACE[0] <= ratio <= _IMPOSSIBLE_PACE[1]
    return (problem if impossible else warning)("duration", value, advice, measured=measured)


def _level(sound: Sound) -> Finding:
    peak_db, level_db = decibels(sound.peak), decibels(sound.level)
    if sound.peak < _SILENT:
        return problem(
            "level",
            "silence",
            "All samples are zero, or nearly: nobody will hear anything.",
            {"peak_db": None},
        )
    value = f"peak {peak_db:.1f} dB, mean {level_db:.1f} dB"
    measured: Measured = {"peak_db": round(peak_db, 1), "level_db": round(level_db, 1)}
    if peak_db < _SOFT_DB:
        return warning(
            "level", value, "It is very soft: scale floating-point samples by 32767.", measured=measured
        )
    return ok("level", value, measured=measured)


def _clipping(sound: Sound) -> Finding:
    if sound.n_jumps:
        advice = (
            "Numbers overflow from one end of the scale to the other: limit them before they become int16."
        )
        return problem("clipping", f"{sound.n_jumps} jumps over the scale", advice, {"jumps": sound.n_jumps})
    value = f"{100 * sound.clipped:.2g} % of the samples"
    measured: Measured = {"clipped_share": round(sound.clipped, 6)}
    if sound.clipped <= _CLIPPED:
        return ok("clipping", "none" if not sound.clipped else value, measured=measured)
    found = problem if sound.clipped > _BADLY_CLIPPED else warning
    return found(
        "clipping",
        value,
        "Peaks are cut off flat: make it softer before it becomes int16.",
        measured=measured,
    )


def _offset(sound: Sound) -> Finding:
    measured: Measured = {"offset": round(sound.offset, 4)}
    if abs(sound.offset) <= _OFFSET:
        return ok("offset", "none", measured=measured)
    advice = "The mean of the samples should be 0: subtract it, else each utterance begins with a click."
    return warning("offset", f"{100 * sound.offset:.1f} % of full scale", advice, measured=measured)


def _silence(sound: Sound) -> Finding:
    measured: Measured = {"lead_s": round(sound.lead_s, 3), "tail_s": round(sound.tail_s, 3)}
    if sound.peak < _SILENT:
        return ok("silence", "it is all there is", measured=measured)
    value = f"{sound.lead_s:.2f} s before the sound, {sound.tail_s:.2f} s behind it"
    if sound.lead_s > _LONG_LEAD_S:
        return warning(
            "silence", value, "Cut off what comes first: each caller waits for it.", measured=measured
        )
    if sound.tail_s > _LONG_TAIL_S:
        return warning(
            "silence", value, "Cut it off: between two sentences of a text it is a gap.", measured=measured
        )
    return ok("silence", value, measured=measured)
