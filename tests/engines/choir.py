"""Models of one group, told apart by how long they speak, whatever the text."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

MS = {"alto": 100, "bass": 200, "whoever": 300}


class _Singer:
    sample_rate = 16_000
    words = True
    ms: int
    voices: tuple[str, ...] = ()

    def synthesize(self, request: SimpleNamespace) -> Iterator[bytes]:
        yield bytes(2 * 16 * self.ms)

    def close(self) -> None:
        """Nothing is held."""


class Alto(_Singer):
    voices = ("anna", "both")
    ms = MS["alto"]


class Bass(_Singer):
    voices = ("bob", "both")
    aliases = {"chief": "bob"}  # noqa: RUF012
    ms = MS["bass"]


class Nova(_Singer):
    voices = ("nova",)
    ms = MS["bass"]


class Whoever(_Singer):
    """It lists no voices, so it takes any."""

    ms = MS["whoever"]
