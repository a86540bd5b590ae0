"""Whether an engine that speaks several texts at once gives each its own audio."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from synth_node.check.failure import failure_of
from synth_node.check.finding import Finding, Measured, ok, problem, warning
from synth_node.check.pace import SAME_S, duration_s
from synth_node.check.trial import Heard, Trial
from synth_node.check.wish import Wish

BATCHES: Final = "batches"
"""What this is called in the report."""
TIMES: Final = (2, 1, 3)
"""How often each text of a batch says the same: of different lengths, and neither rising nor falling."""
_NEAR: Final = 0.72, 1.4
_ORDER: Final = "Return the audios in the order of the requests, and each cut to its own length."
_ALONE: Final = (
    "Return one audio for each request, or an exception in its place: when all of a batch fails, its texts "
    "are spoken one by one. The stack is in what it printed."
)


async def check_batches(trials: Sequence[Trial], *, repeats_itself: bool) -> Finding:
    """Speak several texts at once, and compare each with its audio alone.

    trials: of the slots of one process, as many as TIMES. Raises NotBack, perhaps in a group.
    """
    first, printed = trials[0], trials[0].printed
    texts = _texts(first.wish)
    alone = [await first.speak(text, alone=True) for text in texts]
    await first.ready()
    printed.failed_batch = None
    async with asyncio.TaskGroup() as tasks:
        speaking = [tasks.create_task(trial.speak(text)) for trial, text in zip(trials, texts, strict=True)]
    together = [task.result() for task in speaking]
    for what, spoken in (("alone", alone), (f"{len(texts)} at once", together)):
        if spoken is together and printed.failed_batch is not None:
            return problem(BATCHES, printed.failed_batch, _ALONE)
        for heard in spoken:
            if heard.failure is not None:
                found = await failure_of(first, BATCHES, heard, what) if heard.crashed else None
                return found or problem(BATCHES, f"{what}: {heard.failure}", _ALONE)
    return _compared(alone, together, repeats_itself=repeats_itself)


def _texts(wish: Wish) -> list[str]:
    text = min(wish.texts, key=len)
    return [" ".join([text] * times) for times in TIMES]


def _compared(alone: list[Heard], together: list[Heard], *, repeats_itself: bool) -> Finding:
    n = len(alone)
    for i, heard in enumerate(together):
        for j, other in enumerate(alone):
            if j != i and heard.audio == other.audio != alone[i].audio:
                return problem(BATCHES, f"request {i + 1} of {n} gets the audio of request {j + 1}", _ORDER)
    seconds = [(duration_s(one), duration_s(other)) for one, other in zip(alone, together, strict=True)]
    for i, (alone_s, together_s) in enumerate(seconds):
        if not _NEAR[0] * alone_s <= together_s <= _NEAR[1] * alone_s:
            lasts = f"request {i + 1} of {n} lasts {together_s:.2f} s, alone {alone_s:.2f} s"
            return problem(BATCHES, lasts, _ORDER)
    spread_s = max(abs(together_s - alone_s) for alone_s, together_s in seconds)
    measured: Measured = {"at_once": n, "spread_s": round(spread_s, 3)}
    if all(one.audio == other.audio for one, other in zip(alone, together, strict=True)):
        return ok(BATCHES, f"{n} at once, each the same bytes as alone", measured=measured)
    if spread_s <= SAME_S or not repeats_itself:
        return ok(BATCHES, f"{n} at once, each as long as alone", measured=measured)
    advice = "It repeats itself alone, not in a batch: what stands beside a text should make no difference."
    return warning(BATCHES, f"lengths differ by {spread_s:.2f} s from those alone", advice, measured)
