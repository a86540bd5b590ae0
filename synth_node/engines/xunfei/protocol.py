"""What the two services of Xunfei have in common: a request, its frames, and levels from factors. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import math
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from antiphon.errors import InvalidRequest
from synth_node.engines.xunfei.faults import Fault, Kind

MIN_SPEED: Final = 0.5
MAX_SPEED: Final = 2.0
NORMAL: Final = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be spoken. speed, volume, pitch: levels from 0 to 100. sample_rate: in Hz."""

    text: str
    voice: str
    speed: int
    volume: int
    pitch: int
    sample_rate: int
    aue: Literal["raw", "lame"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One answer. code: 0 is success. seq: place of the audio, None where it comes in order."""

    code: int
    message: str
    sid: str
    audio: bytes
    last: bool
    seq: int | None = None


class Service(Protocol):
    """One of the two services."""

    @property
    def encoding(self) -> str:
        """Python's name of the text's encoding."""

    @property
    def max_text_bytes(self) -> int:
        """Of one request, in that encoding."""

    def request(self, wanted: Wanted) -> str:
        """Return the one message that asks for it."""

    def frame(self, message: str) -> Frame:
        """Read a message. Raises Fault."""


def speed_level(factor: float, usual: float = 1.0) -> int:
    """Return the level of a speed: 0 is half, 50 normal and 100 double, and each step is the same ratio.

    usual: what is multiplied by the factor; what goes beyond the levels then is the last of them.

    Raises:
        InvalidRequest: the factor is not between 0.5 and 2.

    Source: the meaning of the three levels, online TTS at xfyun.cn; what is between them is not told there.
    """
    if not MIN_SPEED <= factor <= MAX_SPEED:
        raise InvalidRequest(f"this model's speeds are {MIN_SPEED} to {MAX_SPEED:g}", param="speed")
    return _ratio_level(min(max(factor * usual, MIN_SPEED), MAX_SPEED))


def pitch_level(factor: float) -> int:
    """Return the level of a pitch from 0.5 to 2, 1 is normal."""
    return _ratio_level(factor)


def volume_level(factor: float) -> int:
    """Return the level of a volume from 0 to 2, 1 is normal."""
    return round(NORMAL * factor)


def _ratio_level(factor: float) -> int:
    return round(NORMAL + NORMAL * math.log2(factor))


def json_object(message: str) -> dict[str, Any]:
    """Read a message that must be a JSON object. Raises Fault."""
    try:
        values = json.loads(message)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise Fault(Kind.TRANSIENT, "the service sent something that is no answer of its own")
    return values


def part(values: dict[str, Any], name: str) -> dict[str, Any]:
    """Return an object within another; an empty one where it is null or absent."""
    found = values.get(name)
    return found if isinstance(found, dict) else {}


def number(value: Any) -> int:
    """Read a code. Raises Fault."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(Kind.TRANSIENT, "the service sent an answer without a code")
    return value


def audio_bytes(encoded: Any) -> bytes:
    """Return a frame's audio; nothing where there is none. Raises Fault."""
    if encoded is None or encoded == "":
        return b""
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Fault(Kind.TRANSIENT, "the service sent audio that is no base64") from None
