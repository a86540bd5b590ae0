"""Has an engine speak to nobody, so that its first caller does not wait for what happens only once.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NoReturn

from .batch import Batch
from .failure import log_all, reason
from .signature import CannotUse


class Unheard:
    """Takes an utterance as the node would, and keeps nothing of it. fileno: of the socket to the node."""

    def __init__(self, fileno: int) -> None:
        self.made_sound = False
        self.failure: BaseException | None = None
        self._fileno = fileno

    def __call__(self, piece: bytes) -> None:
        """Take a piece of audio."""
        self.made_sound = self.made_sound or bool(piece)

    def send(self, piece: bytes) -> None:
        """Take a piece of audio."""
        self(piece)

    def end(self, whole: bytes | None) -> None:
        """Take all of its audio, or its end."""
        self(whole or b"")

    def fail(self, exc: BaseException) -> None:
        """Take what went wrong."""
        self.failure = exc

    def word(self, offset: int, length: int, start: int, end: int) -> None:
        """Take when a word is heard."""

    def cancelled(self) -> bool:
        """Return that nobody leaves."""
        return False

    def cancel(self) -> NoReturn:
        """Never be called."""
        raise AssertionError("nobody has left")

    def fileno(self) -> int:
        """Return a descriptor that stays unreadable as long as the node lives."""
        return self._fileno


def warm_up(engine: Any, text: str, voice: str | None, fileno: int) -> None:
    """Speak `text`. Raises CannotUse if that fails or makes no sound."""
    request = SimpleNamespace(
        text=text,
        voice=voice,
        speed=1.0,
        format="mp3",
        sample_rate=None,
        input_type="text",
        timestamps=False,
    )
    unheard = Unheard(fileno)
    try:
        if engine.only_batches:
            Batch(engine, [(request, unheard)], unheard).speak()
        else:
            unheard.end(engine.speak(request, unheard))
        if unheard.failure is not None:
            raise unheard.failure
    except (Exception, KeyboardInterrupt) as exc:
        log_all(exc)
        raise CannotUse(f"the engine failed in its warm-up: {reason(exc)}") from exc
    if not unheard.made_sound:
        raise CannotUse("the engine made no sound in its warm-up")
