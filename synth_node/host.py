"""What a slot wants of whatever speaks for it: a process of its own, or a server behind the network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol, Self

from synth_node.engine_info import EngineInfo


class EngineUnavailable(Exception):
    """The engine cannot be started; a sentence that says why."""


@dataclass(frozen=True, slots=True)
class EngineRequest:
    """One segment for an engine.

    text: not empty. voice: None is the engine's own default. speed: a factor, 1 is normal.
    format, sample_rate: what the caller asked for; an engine need not care, the node converts.
    input_type, timestamps: other than the defaults only for an engine whose `info` has ssml, words.
    alone: not to be in a batch with others, for it was in a run that was lost: it may be what killed it.
    under_way: some of its text was spoken before, so it had better wait here than be handed back.
    """

    text: str
    voice: str | None = None
    speed: float = 1.0
    format: str = "mp3"
    sample_rate: int | None = None
    input_type: str = "text"
    timestamps: bool = False
    alone: bool = False
    under_way: bool = False

    def for_engine(self) -> dict[str, Any]:
        """Return what an engine is told, as JSON has it."""
        told = asdict(self)
        del told["alone"], told["under_way"]
        return told


class EngineWord(NamedTuple):
    """offset, length: in characters of the utterance's text. start, end: in samples of its PCM."""

    offset: int
    length: int
    start: int
    end: int


class Speaking(Protocol):
    """One segment on its way out of an engine."""

    @property
    def sample_rate(self) -> int | None:
        """Of its PCM, in Hz; 0 for an encoded file; None before the first audio."""

    async def next(self) -> bytes | None:
        """Return what audio is there, waiting for the first of it; None at the end.

        Raises:
            SpeechError: what the engine reported, or EngineCrashed.
            NotStarted: speak it once more.
        """

    def take_words(self) -> Sequence[EngineWord]:
        """Return the words that have come since the last call, in order of their start."""


class NotStarted(Exception):
    """The engine died before it took the utterance: nothing happened, and another try is free."""


class Host(Protocol):
    """Speaks one segment at a time for a slot; to be entered and left by the same task."""

    async def __aenter__(self) -> Self:
        """Start, and wait until the engine is known. Raises EngineUnavailable."""

    async def __aexit__(self, *exc_info: object) -> None:
        """End."""

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""

    @property
    def seconds_per_character(self) -> float:
        """The engine's own time, a moving mean; 0.0 until measured."""

    @property
    def is_ready(self) -> bool:
        """Whether `ready` would return at once."""

    async def ready(self) -> None:
        """Return when the next utterance can begin; what has to be done between two is done first."""

    async def free(self) -> None:
        """Return when the next segment can begin, in the midst of an utterance."""

    def unready(self) -> asyncio.Future[None]:
        """Return what is done as soon as an idle slot had better leave the group.

        Only the host may end it, and nobody may cancel it.
        """

    def speak(self, request: EngineRequest) -> Speaking:
        """Start a segment; only when free. The caller must call `leave` with it in the end."""

    def leave(self, utterance: Speaking) -> None:
        """Want no more of `utterance`; if the engine is still at it, it is cancelled."""
