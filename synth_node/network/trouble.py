"""What goes wrong at an engine's server, by what is to be done about it. No I/O."""

from __future__ import annotations

from typing import Any, Final

MAX_WORDS: Final = 200
"""Characters of a server's own words that go into an error of ours."""


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
    """Every request fails in the same way until somebody mends the settings or the account.

    pause_s: how long nothing is to be spoken the first time, in seconds; None leaves it to the attempts.
    """

    def __init__(self, text: str, words: str = "", pause_s: float | None = None) -> None:
        super().__init__(text, words)
        self.pause_s = pause_s


class Doubtful(Misconfigured):
    """It looks like a fault of the settings, but one text alone may have brought it about.

    So it costs that text a run: it must not go from node to node and pause them all.
    """


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


def clean(text: Any, *secrets: str | None) -> str:
    """Return a server's words as one bounded line that shows none of `secrets`; nothing if it is no text."""
    if not isinstance(text, str):
        return ""
    for secret in filter(None, secrets):  # before the cut, which may leave a part of one
        text = text.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_WORDS else f"{line[:MAX_WORDS]}…"
