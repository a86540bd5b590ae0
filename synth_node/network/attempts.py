"""How an engine asks its server again: while it is busy, a few times if it fails, and after a pause."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from math import inf
from time import monotonic
from typing import Final

import structlog

from antiphon.errors import Draining, EngineCrashed, SpeechError
from synth_node.network.throttle import Throttle
from synth_node.network.trouble import Busy, Doubtful, Failing, Misconfigured, NoConnection, Trouble

FIRST_WAIT_S: Final = 0.25
"""Before the second try; it doubles with each further one."""
MAX_BACKOFF_S: Final = 8.0
MAX_WAIT_S: Final = 5.0
"""Longest wait that a server may ask for between two tries: for a longer one the utterance goes away."""
MAX_BUSY_S: Final = 60.0
"""Longest wait that it may ask of one utterance: a longer one is meant for all, so the engine pauses."""
PATIENCE_S: Final = 5.0
"""So long a server may refuse even one request at a time before it is held to take none of ours at all."""
FIRST_PAUSE_S: Final = 10.0
"""Pause after the server has refused key, model or account, or everything; it doubles while that goes on."""
MAX_GROWN_PAUSE_S: Final = 600.0
MAX_BUSY_PAUSE_S: Final = 60.0
"""The same while the server is busy: it may have room at any time."""
MAX_PAUSE_S: Final = 3600.0
"""Longest pause, whatever the server wants."""
RETURN_S: Final = 1.0
"""Pause before the first probe of a server that could not be reached."""
_log: Final = structlog.get_logger("synth_node")


class Attempts:
    """Tries until there is audio, as the throttle allows. n_failures: how often one text may fail."""

    def __init__(self, throttle: Throttle, n_failures: int) -> None:
        self._throttle = throttle
        self._n_failures = n_failures
        self._n_pauses = 0
        self._heard_at = -inf

    async def audio(
        self, attempt: Callable[[], AsyncGenerator[bytes, None]], *, under_way: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Yield the audio of the first attempt that gives any.

        A server that is busy is asked again for as long as the caller wants the audio, unless it takes
        nothing at all or wants a long wait: another node may be sooner. One that fails is asked a few times.
        Once there was audio nothing is asked again: others go on at that place.

        attempt: asks once; raises SpeechError, which ends it all, Misconfigured, Failing or Busy.
        under_way: see EngineRequest; then a long wait is waited here, too.

        Raises:
            SpeechError: the attempt's, if there was no audio before it; else EngineCrashed. Draining if there
                was none and the text cannot be the cause, so that no run was lost: the server is too busy or
                away, or the settings are at fault.
        """
        n_busy = n_failed = 0
        refused_at = inf
        begun = reached = False
        while True:
            async with self._throttle.turn():
                try:
                    async with aclosing(attempt()) as pieces:
                        async for piece in pieces:
                            begun = True
                            self._heard_at, self._n_pauses = monotonic(), 0
                            yield piece
                    return
                except SpeechError as exc:
                    raise EngineCrashed(str(exc)) if begun else exc from None
                except Misconfigured as exc:
                    first_s = FIRST_PAUSE_S if exc.pause_s is None else exc.pause_s
                    self._pause(exc, first_s, MAX_GROWN_PAUSE_S)
                    raise _end(exc, lost=begun or isinstance(exc, Doubtful)) from None
                except Busy as exc:
                    refused_at = min(refused_at, monotonic())
                    waits = self._refused(exc, refused_at, MAX_BUSY_S if under_way else MAX_WAIT_S)
                    if begun or not waits:
                        raise _end(exc, lost=begun) from None
                    n_busy += 1
                    reason, wait_s = str(exc), _wait_s(n_busy, exc.after_s)
                except Failing as exc:
                    n_failed += 1
                    # What never got there is not what the server failed of.
                    reached = reached or not isinstance(exc, NoConnection)
                    if begun or n_failed == self._n_failures:
                        if isinstance(exc, NoConnection):
                            self._throttle.pause(str(exc), for_s=RETURN_S)
                        raise _end(exc, lost=begun or reached) from None
                    reason, wait_s = str(exc), _wait_s(n_failed)
            _log.info("the engine's server is asked again", reason=reason, in_s=round(wait_s, 3))
            await asyncio.sleep(wait_s)

    def _refused(self, busy: Busy, since: float, most_s: float) -> bool:
        """Note a refusal; return whether the utterance is to wait here for its next try, `most_s` at most.

        The engine pauses if the server wants a long rest of all, or takes nothing of ours: it has refused the
        only request at work there again and again `since` (on time.monotonic()), does so still after a pause,
        or says itself that it will for a while.
        """
        after_s = min(busy.after_s or 0.0, MAX_PAUSE_S)
        alone = self._throttle.refused(for_s=after_s)
        if alone and (self._n_pauses or monotonic() - max(since, self._heard_at) >= PATIENCE_S):
            self._pause(busy, max(after_s, FIRST_PAUSE_S), MAX_BUSY_PAUSE_S)
        elif after_s > (most_s if alone else MAX_BUSY_S):
            self._throttle.pause(str(busy), for_s=after_s)
        return self._throttle.paused_for is None and after_s <= most_s

    def _pause(self, trouble: Trouble, first_s: float, most_s: float) -> None:
        """Speak nothing for a while, longer each time, until something has been spoken.

        A key can be changed, an account be filled; and a probe, which costs nothing, may not tell.
        """
        if self._throttle.paused_for is None:
            grown_s = min(first_s * 2.0 ** min(self._n_pauses, 16), most_s)
            self._n_pauses += 1
            self._throttle.pause(str(trouble), for_s=max(first_s, grown_s))


def _end(trouble: Trouble, *, lost: bool) -> SpeechError:
    """Return what ends the work on a text here, so that others go on; only a run that was lost counts."""
    return EngineCrashed(trouble.in_full) if lost else Draining(trouble.in_full)


def _wait_s(n_tries: int, after_s: float | None = None) -> float:
    """Return the seconds until the next try, at random within bounds, so that not all come at once."""
    backoff_s = min(FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 16), MAX_BACKOFF_S)
    if after_s is None:
        return backoff_s * random.uniform(0.5, 1.0)
    return after_s + backoff_s * random.uniform(0.0, 0.5)
