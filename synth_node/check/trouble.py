"""Texts that engines stumble over, callers who leave, and a second start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from time import monotonic
from typing import Final

from antiphon.errors import SpeechError
from synth_node.check.failure import failure_of
from synth_node.check.finding import Finding, Measured, ok, problem, warning
from synth_node.check.pace import SAME_S, spread_of
from synth_node.check.trial import Heard, Trial
from synth_node.check.wish import LONG_CHARACTERS, long_text
from synth_node.host import EngineRequest, NotStarted

ODD_TEXTS: Final = {
    "a full stop": ".",
    "spaces": "   ",
    "one letter": "a",
    "emoji": "😀🎉👩‍👩‍👧",
    "Chinese": "你好，世界。",
    "line breaks": "One line.\nAnother one.\r\n\n\tAnd a third.",
    "markup": '<b>1 < 2</b> & "so on" {x} \\n %s',
}
_LONG_SHARE: Final = 0.2
"""Of the time for the check, what a long text may take."""
_MIN_LONG_CHARACTERS: Final = 200
_MIN_CANCEL_S: Final = 0.02
_PROMPT_S: Final = 0.25


async def check_odd_texts(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Speak texts that are not plain sentences: an error is allowed, a crash is not."""
    n_found = 0
    for name, text in ODD_TEXTS.items():
        began_s = trial.rest_s
        heard = await trial.speak(text)
        if found := await failure_of(trial, "odd text", heard, name):
            n_found += 1
            yield found
        if heard.crashed and began_s - trial.rest_s > trial.settings.hang_s:
            return  # each of them may take as long
    if not n_found:
        yield ok("odd text", f"{', '.join(ODD_TEXTS)}: spoken or refused")


async def check_long_text(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Speak a text that is longer than a node sends, unless it is told not to split texts."""
    affordable = int(_LONG_SHARE * trial.wish.timeout_s / trial.per_character_s)
    text = long_text(trial.wish.texts, max(_MIN_LONG_CHARACTERS, min(LONG_CHARACTERS, affordable)))
    heard = await trial.speak(text)
    advice = "Nodes split a text at SYNTH_SEGMENT_CHARACTERS, unless it is SSML: keep that below your limit."
    if found := await failure_of(trial, "long text", heard, f"{len(text)} characters", advice):
        yield found
    else:
        value = f"{len(text)} characters in {heard.total_s:.2f} s"
        yield ok("long text", value, measured={"characters": len(text)})


async def check_cancel(trial: Trial) -> AsyncGenerator[Finding, None]:
    """Leave the longest segment that a node sends in its midst, and see how long the engine stays busy."""
    process = trial.process
    text = long_text(trial.wish.texts, trial.settings.segment_characters or LONG_CHARACTERS)
    await trial.ready()
    pid = None if process is None else process.pid
    began_at = monotonic()
    utterance = trial.host.speak(EngineRequest(text))
    try:
        async with asyncio.timeout(max(_MIN_CANCEL_S, trial.per_character_s * len(text) / 2)):
            await utterance.next()
    except TimeoutError:
        pass  # it blocks, and now it is about half way
    except (SpeechError, NotStarted) as exc:
        yield warning("cancel", str(exc), "It failed before it could be cancelled.")
        return
    finally:
        trial.host.leave(utterance)
        left_s = monotonic() - began_at
    free_s = await trial.ready()
    killed = process is not None and process.pid != pid
    value = ("killed, and " if killed else "") + f"free again after {free_s:.2f} s"
    measured: Measured = {
        "cancelled_after_s": round(left_s, 4),
        "free_after_s": round(free_s, 4),
        "killed": killed,
    }
    if free_s <= _PROMPT_S:
        yield ok("cancel", value, measured=measured)
    else:
        went = "It was killed, for it would have gone on" if killed else "It went on, unheard"
        yield warning("cancel", value, f"{went}: yield pieces, and a call ends at the next one.", measured)


async def check_second_process(trial: Trial, spoken: list[Heard]) -> Finding:
    """Compare what a second process says with what the first one said."""
    before = spoken[0]
    heard = await trial.speak(before.text)
    if heard.failure is not None:
        return problem(
            "second process", f"{heard.failure.code}: {heard.failure}", "The first one spoke that text."
        )
    if heard.audio == before.audio:
        return ok("second process", "the same bytes as in the first")
    if len({same.audio for same in spoken}) > 1 and spread_of([*spoken, heard]) <= SAME_S:
        return ok("second process", "the same length as in the first")
    advice = "Two nodes speak the same text in two ways: seed what is random for each utterance, not once."
    return warning("second process", f"lengths differ by {spread_of([*spoken, heard]):.2f} s", advice)


def check_printed(trial: Trial) -> Finding:
    """Tell what the engine printed."""
    printed = trial.printed
    value = f"{printed.n_lines} lines" if printed.n_lines else "nothing"
    if printed.showed(trial.wish.texts):
        advice = "It prints the texts: what callers have spoken would be in the node's log."
        return warning("printed", value, advice, {"lines": printed.n_lines})
    follows = "What it prints goes to the node's log, never into the audio." if printed.n_lines else ""
    return ok("printed", value, follows, {"lines": printed.n_lines})
