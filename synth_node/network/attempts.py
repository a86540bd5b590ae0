"""How an engine asks its server again: while it is busy, a few times if it fails, and after a pause."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import structlog

from antiphon.errors import EngineCrashed, SpeechError
from synth_node.network.throttle import Throttle
from synth_node.network.trouble import Busy, Failing, Misconfigured, NoConnection

FIRST_WAIT_S: Final = 0.25
"""Before the second try; it doubles with each further one."""
MAX_BACKOFF_S: Final = 8.0
MAX_WAIT_S: Final = 60.0
"""Longest wait between two tries; where the server wants a longer one, the engine pauses."""
FIRST_PAUSE_S: Final = 10.0
"""Pause after the server has refused key, model or account; it doubles while that goes on."""
MAX_GROWN_PAUSE_S: Final = 600.0
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

    async def audio(self, attempt: Callable[[], AsyncGenerator[bytes, None]]) -> AsyncGenerator[bytes, None]:
        """Yield the audio of the first attempt that gives any.

        A server that is busy is asked again for as long as the caller wants the audio. One that fails is
        asked a few times. Once there was audio nothing is asked again: others go on at that place.

        attempt: asks once; raises SpeechError, which ends it all, Misconfigured, Failing or Busy.

        Raises:
            SpeechError: the attempt's, if there was no audio before it; else EngineCrashed.
        """
        n_busy = n_failed = 0
        begun = False
        while True:
            async with self._throttle.turn():
                try:
                    async with aclosing(attempt()) as pieces:
                        async for piece in pieces:
                            begun = True
                            yield piece
                    self._n_pauses = 0
                    return
                except SpeechError as exc:
                    raise EngineCrashed(str(exc)) if begun else exc from None
                except Misconfigured as exc:
                    self._pause(exc)
                    raise EngineCrashed(exc.in_full) from None
                except Busy as exc:
                    self._throttle.refused()
                    after_s = exc.after_s or 0.0
                    if after_s > MAX_WAIT_S:
                        self._throttle.pause(str(exc), for_s=min(after_s, MAX_PAUSE_S))
                    if begun or after_s > MAX_WAIT_S:
                        raise EngineCrashed(exc.in_full) from None
                    n_busy += 1
                    reason, wait_s = str(exc), _wait_s(n_busy, exc.after_s)
                except Failing as exc:
                    n_failed += 1
                    if begun or n_failed == self._n_failures:
                        if isinstance(exc, NoConnection):
                            self._throttle.pause(str(exc), for_s=RETURN_S)
                        raise EngineCrashed(exc.in_full) from None
                    reason, wait_s = str(exc), _wait_s(n_failed)
            _log.info("the engine's server is asked again", reason=reason, in_s=round(wait_s, 3))
            await asyncio.sleep(wait_s)

    def _pause(self, trouble: Misconfigured) -> None:
        """Speak nothing for a while, longer each time, until something has been spoken.

        A key can be changed, an account be filled; and a probe, which costs nothing, may not tell.
        """
        if self._throttle.paused_for is None:
            first_s = FIRST_PAUSE_S if trouble.pause_s is None else trouble.pause_s
            grown_s = min(first_s * 2.0 ** min(self._n_pauses, 16), MAX_GROWN_PAUSE_S)
            self._n_pauses += 1
            self._throttle.pause(str(trouble), for_s=max(first_s, grown_s))


def _wait_s(n_tries: int, after_s: float | None = None) -> float:
    """Return the seconds until the next try, at random within bounds, so that not all come at once."""
    backoff_s = min(FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 16), MAX_BACKOFF_S)
    if after_s is None:
        return backoff_s * random.uniform(0.5, 1.0)
    return after_s + backoff_s * random.uniform(0.0, 0.5)
