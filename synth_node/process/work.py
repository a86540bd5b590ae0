"""What an engine's process is at, as the host that keeps it sees it."""

from __future__ import annotations

from typing import Protocol

from synth_node.process.engine import Frame


class Work(Protocol):
    """What an engine is at: an utterance, or a batch of them.

    number: of its frame. n_segments: how many utterances. n_characters: of its text, or the longest of its
    texts. streamed: it comes in pieces.
    """

    number: int
    n_segments: int
    n_characters: int

    @property
    def streamed(self) -> bool: ...

    @property
    def begun(self) -> bool:
        """Whether any of it has come."""

    @property
    def succeeded(self) -> bool:
        """Whether it is complete."""

    @property
    def working_s(self) -> float:
        """Time of the engine's own: without that in which nobody took its audio."""

    def take(self, frame: Frame) -> bool:
        """Take a frame; return whether it was the last. Raises ValueError for nonsense."""

    def drop(self) -> None:
        """Keep none of its audio from now on."""

    def fail(self, failure: Exception) -> None:
        """End it with `failure`, behind the audio that is there."""
