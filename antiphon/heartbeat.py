"""What nodes and callers tell everyone about themselves: heartbeats, waiting requests, voices. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Final, Literal, cast

import msgpack

from antiphon.errors import MalformedMessage
from antiphon.subjects import check_token
from antiphon.wire import decode_map, encode_map, known_fields, require

# What is beyond these is no account of anything, and forecasts would drown in it.
_MAX_COUNT: Final = 2**53
_MAX_SLOTS: Final = 4096
_MAX_INTERVAL_S: Final = 3600.0
_MAX_SECONDS_PER_CHARACTER: Final = 3600.0
_MAX_CHARACTERS: Final = 2**53
MAX_VOICES: Final = 2000
"""Voices that a model can list, and aliases beside them; the engine's process has the same bounds."""
MAX_VOICE_CHARACTERS: Final = 200
"""Of each text in such a list."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What one caller process has waiting for one model."""

    waiting: int
    characters: int


def encode_waiting(waiting: Waiting) -> bytes:
    """Return {waiting, characters}."""
    return encode_map({"waiting": waiting.waiting, "characters": waiting.characters})


def decode_waiting(data: bytes) -> Waiting:
    """Read {waiting, characters}. Raises MalformedMessage."""
    values = decode_map(data)
    try:
        for key in ("waiting", "characters"):
            require(values.get(key), int, key)
        waiting = Waiting(values["waiting"], values["characters"])
    except TypeError as exc:
        raise MalformedMessage(f"{exc}") from exc
    if not (0 <= waiting.waiting <= _MAX_COUNT and 0 <= waiting.characters <= _MAX_CHARACTERS):
        raise MalformedMessage("out of range")
    return waiting


State = Literal["starting", "ready", "draining", "left"]
_STATES: Final = ("starting", "ready", "draining", "left")


@dataclass(frozen=True, slots=True)
class Running:
    """One run as its node's heartbeat shows it; elapsed_s counts from `accepted`."""

    run: str
    characters: int
    elapsed_s: float

    def __post_init__(self) -> None:
        require(self.run, str, "run")
        require(self.characters, int, "characters")
        require(self.elapsed_s, (int, float), "elapsed_s")
        if not 0 <= self.characters <= _MAX_CHARACTERS or not (
            math.isfinite(self.elapsed_s) and self.elapsed_s >= 0
        ):
            raise ValueError("a run out of range")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A node's own account of itself.

    node: unique per boot, the address. name: shown to people. boot: time of start, Unix seconds.
    seq: counts up. idle: armed slots, members of the queue group. busy: slots at work, on `running`.
    interval_s: time to the next heartbeat at the latest. seconds_per_character: slot seconds, moving mean.
    real_time_factor: synthesis seconds per second of audio, moving mean. Both are 0.0 until measured.
    paused: why its engine speaks nothing for now, a sentence without secrets; empty when it can.
    pause_s: seconds until it finds out whether it can again; 0.0 when it does so now, or that is not known.
    """

    node: str
    name: str
    boot: float
    seq: int
    model: str
    state: State
    slots: int
    idle: int
    busy: int
    running: tuple[Running, ...] = ()
    interval_s: float = 1.0
    synthesized: int = 0
    failed: int = 0
    seconds_per_character: float = 0.0
    real_time_factor: float = 0.0
    version: str = ""
    voices_hash: str = ""
    paused: str = ""
    pause_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("node", "name", "model", "state", "version", "voices_hash", "paused"):
            require(getattr(self, name), str, name)
        check_token(self.node)
        check_token(self.model)
        for name in ("seq", "slots", "idle", "busy", "synthesized", "failed"):
            require(getattr(self, name), int, name)
            if not 0 <= getattr(self, name) <= _MAX_COUNT:
                raise ValueError(f"{name} is out of range")
        if max(self.slots, self.idle, self.busy) > _MAX_SLOTS:
            raise ValueError("too many slots")
        if not 0 < self.interval_s <= _MAX_INTERVAL_S:
            raise ValueError("interval_s is out of range")
        if self.seconds_per_character > _MAX_SECONDS_PER_CHARACTER:
            raise ValueError("seconds_per_character is out of range")
        for name in ("boot", "interval_s", "seconds_per_character", "real_time_factor", "pause_s"):
            require(getattr(self, name), (int, float), name)
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} is out of range")
        if self.state not in _STATES:
            raise ValueError(f"state {self.state!r}")


def encode_heartbeat(heartbeat: Heartbeat) -> bytes:
    """Return the heartbeat as a msgpack map."""
    return bytes(msgpack.packb(asdict(heartbeat)))


def decode_heartbeat(data: bytes) -> Heartbeat:
    """Read a heartbeat; unknown keys are ignored. Raises MalformedMessage."""
    values = decode_map(data)
    try:
        known = known_fields(Heartbeat, values)
        running = known.pop("running", ())
        require(running, (list, tuple), "running")
        return Heartbeat(**known, running=tuple(Running(**known_fields(Running, run)) for run in running))
    except (TypeError, ValueError, AttributeError) as exc:
        raise MalformedMessage(f"no heartbeat: {exc}") from exc


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of a model. language: BCP 47 where the engine knows it."""

    id: str
    name: str = ""
    language: str = ""

    def __post_init__(self) -> None:
        for name in ("id", "name", "language"):
            require(getattr(self, name), str, name)


@dataclass(frozen=True, slots=True)
class VoiceList:
    """The voices of a model. aliases: other names that its engine has for them, each with the voice's id."""

    voices: tuple[Voice, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> str | None:
        """Return the id of the voice that `name` is, or is an alias of; None if it is neither."""
        return name if any(voice.id == name for voice in self.voices) else self.aliases.get(name)


def encode_voices(model: str, voices: tuple[Voice, ...], aliases: Mapping[str, str] | None = None) -> bytes:
    """Return {model, voices: [{id, name, language}], aliases?: {name: id}}."""
    values: dict[str, Any] = {"model": model, "voices": [asdict(voice) for voice in voices]}
    if aliases:
        values["aliases"] = dict(aliases)
    return encode_map(values)


def decode_voices(data: bytes) -> VoiceList:
    """Read a voice list; unknown keys are ignored. Raises MalformedMessage, also if it is too long."""
    values = decode_map(data)
    voices, aliases = values.get("voices"), values.get("aliases", {})
    try:
        require(voices, list, "voices")
        require(aliases, dict, "aliases")
        if max(len(cast(list[Any], voices)), len(aliases)) > MAX_VOICES:
            raise ValueError(f"more than {MAX_VOICES} voices or aliases")
        for text in (*aliases.keys(), *aliases.values()):
            require(text, str, "aliases")
        listed = tuple(Voice(**known_fields(Voice, voice)) for voice in cast(list[Any], voices))
        texts = chain(aliases.keys(), aliases.values(), *((v.id, v.name, v.language) for v in listed))
        if any(len(text) > MAX_VOICE_CHARACTERS for text in texts):
            raise ValueError(f"a text of more than {MAX_VOICE_CHARACTERS} characters")
        return VoiceList(listed, aliases)
    except (TypeError, ValueError, AttributeError) as exc:
        raise MalformedMessage(f"no voice list: {exc}") from exc
