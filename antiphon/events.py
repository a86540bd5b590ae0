"""The stream protocol: what a node sends for one run. No I/O."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import ClassVar, Final

import msgpack

from antiphon.errors import MalformedMessage
from antiphon.subjects import check_token
from antiphon.wire import require

MAX_CHUNK_BYTES: Final = 128 * 1024
_MAX_SECONDS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Accepted:
    """A slot has taken the request; sent before the engine is touched.

    node: token of the node in charge, for its cancel and credit subjects. slot: number on that node, from 0.
    model: of the node, which a server that maps subjects may have chosen; it travels in the event's last map.
    """

    kind: ClassVar[str] = "accepted"
    node: str
    slot: int
    model: str | None = None

    def __post_init__(self) -> None:
        require(self.node, str, "node")
        require(self.slot, int, "slot")
        if self.model is not None:
            check_token(self.model)


@dataclass(frozen=True, slots=True)
class Position:
    """How far a listener has come.

    segment, seconds: so many seconds after the beginning of that segment, which counts from 0; the pause
    behind a segment is a part of it. run_s: seconds of this run's audio.
    """

    segment: int
    seconds: float
    run_s: float

    def __post_init__(self) -> None:
        require(self.segment, int, "segment")
        for name in ("seconds", "run_s"):
            require(getattr(self, name), (int, float), name)
            if not 0 <= getattr(self, name) <= _MAX_SECONDS:
                raise ValueError(f"{name} is out of range")
        if self.segment < 0:
            raise ValueError("segment is below 0")


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """Consecutive bytes of one utterance's audio.

    seq: position in the run, from 0, without gaps. audio: encoded as asked, at most MAX_CHUNK_BYTES.
    at: how far a listener has come who has heard everything up to here; it travels in the event's last map.
    """

    kind: ClassVar[str] = "audio"
    seq: int
    audio: bytes
    at: Position | None = None

    def __post_init__(self) -> None:
        require(self.seq, int, "seq")
        require(self.audio, bytes, "audio")
        if not 0 < len(self.audio) <= MAX_CHUNK_BYTES:
            raise ValueError(f"{len(self.audio)} bytes in one chunk")


@dataclass(frozen=True, slots=True)
class Progress:
    """The run is alive; sent at least every 500 ms when there is no audio to send."""

    kind: ClassVar[str] = "progress"


@dataclass(frozen=True, slots=True)
class Segment:
    """The audio that follows begins a segment: a part of the text that is synthesized in one go.

    index: from 0. n_segments: in the utterance. offset, length: of its text, in characters.
    """

    kind: ClassVar[str] = "segment"
    index: int
    n_segments: int
    offset: int
    length: int

    def __post_init__(self) -> None:
        for name in ("index", "n_segments", "offset", "length"):
            require(getattr(self, name), int, name)
        if not 0 <= self.index < self.n_segments or min(self.offset, self.length) < 0:
            raise ValueError("a segment out of range")


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it is heard.

    offset, length: in characters of the request's text. start_ms, end_ms: in the utterance's audio.
    """

    offset: int
    length: int
    start_ms: int
    end_ms: int

    def __post_init__(self) -> None:
        for name in ("offset", "length", "start_ms", "end_ms"):
            require(getattr(self, name), int, name)
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is below 0")


@dataclass(frozen=True, slots=True)
class Words:
    """When words are heard, in order; for a request with `timestamps`."""

    kind: ClassVar[str] = "words"
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class End:
    """The utterance is complete.

    stats: n (chunks), bytes, audio_ms, synthesis_ms; further keys may come.
    """

    kind: ClassVar[str] = "end"
    stats: dict[str, int]

    def __post_init__(self) -> None:
        require(self.stats, dict, "stats")
        for key in ("n", "bytes", "audio_ms", "synthesis_ms"):
            require(self.stats.get(key), int, key)

    @property
    def n_chunks(self) -> int:
        """Audio messages in the run."""
        return self.stats["n"]

    @property
    def n_bytes(self) -> int:
        """Audio bytes in the run."""
        return self.stats["bytes"]

    @property
    def audio_ms(self) -> int:
        """Duration of the audio in milliseconds."""
        return self.stats["audio_ms"]

    @property
    def synthesis_ms(self) -> int:
        """Time from accepted to the last sample in milliseconds."""
        return self.stats["synthesis_ms"]


@dataclass(frozen=True, slots=True)
class Failure:
    """The run, or the request before any run, failed.

    code: stable, see errors.py. text: for people. param: the request's field at fault; it travels in the
    event's last map.
    """

    kind: ClassVar[str] = "error"
    code: str
    text: str
    param: str | None = None

    def __post_init__(self) -> None:
        require(self.code, str, "code")
        require(self.text, str, "text")


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of a newer version; to be ignored."""

    kind: str


KnownEvent = Accepted | AudioChunk | Progress | Segment | Words | End | Failure
Event = KnownEvent | Unknown


def encode_event(run: str, event: KnownEvent) -> bytes:
    """Return the msgpack array [run, kind, values..., {}]."""
    later: dict[str, object] = {}
    values: tuple[object, ...]
    match event:
        case AudioChunk(seq, audio, at):
            values = (seq, audio)
            if at is not None:
                later["at"] = astuple(at)
        case Accepted(node, slot, model):
            values = (node, slot)
            if model is not None:
                later["model"] = model
        case End(stats):
            values = (stats,)
        case Failure(code, text, param):
            values = (code, text)
            if param is not None:
                later["param"] = param
        case Progress():
            values = ()
        case Segment():
            values = astuple(event)
        case Words(words):
            values = ([astuple(word) for word in words],)
    return bytes(msgpack.packb((run, event.kind, *values, later)))


def decode_event(data: bytes) -> tuple[str, Event]:
    """Return run and event; an event of a kind that we do not know is an Unknown.

    Raises:
        MalformedMessage: the bytes are no event.
    """
    try:
        run, kind, *values, later = msgpack.unpackb(data)
        require(run, str, "run")
        require(kind, str, "kind")
        require(later, dict, "the last element")
        match kind:
            case AudioChunk.kind:
                seq, audio = values
                at = later.get("at")
                return run, AudioChunk(seq, audio, None if at is None else Position(*at))
            case Accepted.kind:
                node, slot = values
                return run, Accepted(node, slot, _text(later.get("model")))
            case Progress.kind:
                return run, Progress(*values)
            case Segment.kind:
                return run, Segment(*values)
            case Words.kind:
                (words,) = values
                return run, Words(tuple(Word(*word) for word in words))
            case End.kind:
                return run, End(*values)
            case Failure.kind:
                code, text = values
                return run, Failure(code, text, _text(later.get("param")))
            case _:
                return run, Unknown(kind)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as exc:
        raise MalformedMessage(f"{len(data)} bytes are no event: {exc!r}") from exc


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
