"""All checks of an engine, one after another, within a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from time import monotonic
from typing import Final

from antiphon.process import first_of
from synth_node.check.audio import check_audio
from synth_node.check.batches import BATCHES, TIMES, check_batches
from synth_node.check.finding import Finding, ok, problem, warning
from synth_node.check.form import check_signature, check_voices
from synth_node.check.pace import CannotSpeak, check_memory, check_pace, check_speed, check_start
from synth_node.check.printed import Printed
from synth_node.check.trial import NotBack, Trial, opened
from synth_node.check.trouble import (
    check_cancel,
    check_long_text,
    check_odd_texts,
    check_printed,
    check_second_process,
)
from synth_node.check.wish import Wish
from synth_node.config import SynthSettings
from synth_node.engine_settings import EngineSettings
from synth_node.host import EngineUnavailable
from synth_node.process.host import QUIT_S

Check = Callable[[Trial], AsyncGenerator[Finding, None]]
CHECKS: Final[dict[str, Check]] = {
    "start-up": check_start,
    "form": check_signature,
    "pace": check_pace,
    "memory": check_memory,
    "audio": check_audio,
    "speed": check_speed,
    "voices": check_voices,
    "cancel": check_cancel,
    "odd text": check_odd_texts,
    "long text": check_long_text,
}

_ALL_MS: Final = 10_000.0
"""Wait for a batch that is complete long before."""
_HANGS: Final = (
    "It hangs, or is slower than any caller waits; a node kills it after a silence of SYNTH_HANG_S."
)


async def run(
    settings: SynthSettings,
    engine_settings: EngineSettings | None,
    wish: Wish,
    printed: Printed,
    tell: Callable[[Finding], None],
) -> None:
    """Check an engine; `tell` gets each finding as it is found.

    Raises:
        EngineUnavailable: the engine cannot be loaded; in a group, if it is behind the network.
    """
    deadline = asyncio.get_running_loop().time() + wish.timeout_s
    # One slot with a process of its own; if that were replaced between two utterances, a leak would not show.
    changes = {"slots": 1, "processes": None, "recycle_after": 0, "memory_mib": 0}
    settings = settings.model_copy(update=changes)
    async with opened(settings, engine_settings) as (host,):
        trial = Trial(host, settings, wish, printed, deadline)
        speaks = await _all_checks(trial, tell)
        closing_at = monotonic()
    if trial.process is not None:
        tell(_closed(monotonic() - closing_at))
        if speaks and trial.spoken:
            await _second_start(trial, engine_settings, tell)
            if trial.info.batches:
                await _batches(trial, engine_settings, tell)
    tell(check_printed(trial))


async def _all_checks(trial: Trial, tell: Callable[[Finding], None]) -> bool:
    """Do one check after another; return whether there is any use in more."""
    for name, check in CHECKS.items():
        try:
            async with asyncio.timeout_at(trial.deadline), aclosing(check(trial)) as found:
                async for finding in found:
                    tell(finding)
        except TimeoutError:
            if check is check_pace and not trial.spoken:
                tell(problem("speech", f"no utterance was over within {trial.wish.timeout_s:g} s", _HANGS))
                return False
            tell(_not_checked(name, trial.wish))
        except CannotSpeak as exc:
            tell(exc.finding)
            return False
        except NotBack as exc:
            tell(problem(name, f"the engine does not come back: {exc}", "A node would do without this slot."))
            return False
    return True


def _not_checked(check: str, wish: Wish) -> Finding:
    advice = "Give it more time with --timeout, or shorter texts with --text."
    return warning(check, f"not checked: {wish.timeout_s:g} s are over", advice)


def _closed(seconds: float) -> Finding:
    value, measured = f"ended within {seconds:.2f} s", {"close_s": round(seconds, 3)}
    if seconds < QUIT_S:
        return ok("close", value, measured=measured)
    return warning(
        "close", "killed", f"It gets {QUIT_S:g} s to end, its method close included.", measured=measured
    )


async def _second_start(
    trial: Trial, engine_settings: EngineSettings | None, tell: Callable[[Finding], None]
) -> None:
    """Speak a text again in a process of its own, as another node would."""
    spoken = [heard for heard in trial.spoken if heard.text == trial.spoken[0].text]
    try:
        async with asyncio.timeout_at(trial.deadline), opened(trial.settings, engine_settings) as (host,):
            trial = Trial(host, trial.settings, trial.wish, trial.printed, trial.deadline)
            tell(await check_second_process(trial, spoken))
    except TimeoutError:
        tell(_not_checked("second process", trial.wish))
    except EngineUnavailable as exc:
        tell(problem("second process", str(exc), "It started once: does it leave something behind?"))
    except NotBack as exc:
        tell(problem("second process", str(exc), "The first one spoke that text."))


async def _batches(
    trial: Trial, engine_settings: EngineSettings | None, tell: Callable[[Finding], None]
) -> None:
    """Speak several texts at once, in a process that slots share."""
    same = {heard.audio for heard in trial.spoken if heard.text == trial.spoken[0].text}
    changes = {"slots": len(TIMES), "processes": 1, "batch_wait_ms": _ALL_MS}
    settings = trial.settings.model_copy(update=changes)
    try:
        async with asyncio.timeout_at(trial.deadline), opened(settings, engine_settings) as hosts:
            trials = [Trial(host, settings, trial.wish, trial.printed, trial.deadline) for host in hosts]
            tell(await check_batches(trials, repeats_itself=len(same) == 1))
    except* TimeoutError:
        tell(_not_checked(BATCHES, trial.wish))
    except* EngineUnavailable as group:
        tell(problem(BATCHES, str(first_of(group)), "A node whose slots share a process would not start."))
    except* NotBack as group:
        tell(problem(BATCHES, str(first_of(group)), "A node would do without these slots."))
