"""How an engine asks its server again: while it is busy, a few times if it fails, and after a pause."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

import structlog

from antiphon.errors import EngineCrashed
from synth_node.network.throttle import Throttle

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


class Trouble(Exception):
    """Why a server did not speak: a text for the log and for every caller, without a secret.

    words: the server's own, for the one caller that asked; they may repeat what was to be said.
    """

    def __init__(self, text: str, words: str = "") -> None:
        super().__init__(text)
        self.words = words

    @property
    def in_full(self) -> str:
        """The text, and the server's own words."""
        return f"{self}: {self.words}" if self.words else str(self)


class Misconfigured(Trouble):
    """Every request fails in the same way until somebody mends the settings or the account."""


class Failing(Trouble):
    """The server, or the way there, fails now; another try may do better."""


class NoConnection(Failing):
    """Not one byte came from the server: a probe tells when it is back."""


class Busy(Trouble):
    """The server refuses because it is asked for too much.

    after_s: when it wants to be asked again, in seconds; None if it does not say.
    """

    def __init__(self, text: str, words: str = "", after_s: float | None = None) -> None:
        super().__init__(text, words)
        self.after_s = after_s


class Attempts:
    """Tries until there is audio, as the throttle allows. n_failures: how often one text may fail."""

    def __init__(self, throttle: Throttle, n_failures: int) -> None:
        self._throttle = throttle
        self._n_failures = n_failures
        self._n_pauses = 0

    async def audio(self, attempt: Callable[[], AsyncGenerator[bytes, None]]) -> AsyncGenerator[bytes, None]:
        """Yield the audio of the first attempt that gives any.

        A server that is busy is asked again for as long as the caller wants the audio. One that fails is
        asked a few times, but not once there was audio: others go on at that place.

        attempt: asks once; raises SpeechError, which ends it all, Misconfigured, Failing or Busy.

        Raises:
            SpeechError: the attempt's, or EngineCrashed.
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
                except Misconfigured as exc:
                    self._pause(str(exc))
                    raise EngineCrashed(exc.in_full) from None
                except Busy as exc:
                    self._throttle.refused()
                    if exc.after_s is not None and exc.after_s > MAX_WAIT_S:
                        self._throttle.pause(str(exc), for_s=min(exc.after_s, MAX_PAUSE_S))
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

    def _pause(self, reason: str) -> None:
        """Speak nothing for a while, longer each time, until something has been spoken.

        A key can be changed, an account be filled; and a probe, which costs nothing, may not tell.
        """
        if self._throttle.paused_for is None:
            pause_s = min(FIRST_PAUSE_S * 2.0 ** min(self._n_pauses, 16), MAX_GROWN_PAUSE_S)
            self._n_pauses += 1
            self._throttle.pause(reason, for_s=pause_s)


def _wait_s(n_tries: int, after_s: float | None = None) -> float:
    """Return the seconds until the next try, at random within bounds, so that not all come at once."""
    backoff_s = min(FIRST_WAIT_S * 2.0 ** min(n_tries - 1, 16), MAX_BACKOFF_S)
    if after_s is None:
        return backoff_s * random.uniform(0.5, 1.0)
    return after_s + backoff_s * random.uniform(0.0, 0.5)
