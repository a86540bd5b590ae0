"""What to say about an utterance that failed."""

from __future__ import annotations

from typing import Final

from synth_node.check.finding import Finding, Measured, problem, warning
from synth_node.check.trial import Heard, NotBack, Trial

_CRASH: Final = "Such a request is given up after three slots; each serves nobody until it has started again."
_FAILURE: Final = "The caller gets an error: speak nothing, or set antiphon_code = 'invalid_request'."


async def failure_of(
    trial: Trial, check: str, heard: Heard, what: str = "", advice: str = _FAILURE
) -> Finding | None:
    """Return what is wrong with an utterance, None if it is spoken, or refused as it should be.

    A crash is a problem, and the engine is waited for; an exception is a warning.

    what: begins the value, to tell it from others of the check.
    """
    failure = heard.failure
    if failure is None or failure.number < 500:
        return None
    before = f"{what}: " if what else ""
    measured: Measured = {"code": failure.code}
    if not heard.crashed:
        return warning(check, f"{before}{failure}", advice, measured)
    try:
        again_s = await trial.ready()
    except NotBack as exc:
        return problem(check, f"{before}{failure}; it does not start again: {exc}", _CRASH, measured)
    value = f"{before}{failure}; started again in {again_s:.2f} s"
    return problem(check, value, _CRASH, {**measured, "start_again_s": round(again_s, 3)})
