"""A synthesis request: its payload and its headers. No I/O."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

import msgpack

from antiphon.errors import InvalidRequest, NothingToSpeak

DEFAULT_WINDOW_BYTES: Final = 1024 * 1024
MAX_ID_CHARACTERS: Final = 128
MAX_VOICE_CHARACTERS: Final = 200
MAX_SKIP_S: Final = 24 * 3600.0
MIN_SAMPLE_RATE: Final = 8000
MAX_SAMPLE_RATE: Final = 48000
MIN_SPEED: Final = 0.25
MAX_SPEED: Final = 4.0

INPUT_TYPES: Final = ("text", "ssml")
_SAID: Final = frozenset("$€£¥¢₹₩₽+<=>|~^`°©®№±×÷")
"""Symbols that are read aloud; of the others, most are pictures."""

# Request headers.
ID: Final = "Tts-Id"
ATTEMPT: Final = "Tts-Attempt"
BUDGET_MS: Final = "Tts-Budget-Ms"
REPLY: Final = "Tts-Reply"
WINDOW: Final = "Tts-Window"
TRACEPARENT: Final = "traceparent"
CONTENT_TYPE: Final = "Content-Type"
# Headers of a plain reply.
NODE: Final = "Tts-Node"
AUDIO_MS: Final = "Tts-Audio-Ms"
SYNTHESIS_MS: Final = "Tts-Synthesis-Ms"
ERROR: Final = "Tts-Error"
SERVICE_ERROR: Final = "Nats-Service-Error"
SERVICE_ERROR_CODE: Final = "Nats-Service-Error-Code"

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a listener is whose node was lost: the next run goes on from there.

    offset: of the segment's first character in the text. skip_s: seconds of that segment that were heard.
    """

    offset: int
    skip_s: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.offset, int) or isinstance(self.offset, bool) or self.offset < 0:
            raise InvalidRequest("resume.offset must be a number of characters", param="resume")
        if not isinstance(self.skip_s, (int, float)) or isinstance(self.skip_s, bool):
            raise InvalidRequest("resume.skip_s must be a number of seconds", param="resume")
        if not 0 <= self.skip_s <= MAX_SKIP_S:
            raise InvalidRequest(f"resume.skip_s must be from 0 to {MAX_SKIP_S:g}", param="resume")


@dataclass(frozen=True, slots=True)
class SpeechRequest:
    """One utterance to synthesize.

    text: what to speak. voice: None is the model's default. speed: factor, 1.0 is normal, 0.25 to 4.
    format: a key of CONTENT_TYPES. sample_rate: in Hz; None is the engine's own. input_type: text or ssml.
    timestamps: tell when each word is heard. split: False is to speak the text in one go, however long.
    resume: go on where a lost run ended; the audio continues that run's, without a header of its own.

    Raises:
        InvalidRequest: a field has a wrong type or a value that is not allowed; `param` names it.
        NothingToSpeak: the text has nothing in it that could be said, such as emoji alone.
    """

    text: str
    voice: str | None = None
    speed: float = 1.0
    format: str = "mp3"
    sample_rate: int | None = None
    input_type: str = "text"
    timestamps: bool = False
    split: bool = True
    resume: Resume | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise InvalidRequest("text must be a string", param="text")
        if not self.text.strip():
            raise InvalidRequest("text is empty", param="text")
        _require_unicode(self.text, "text")
        if not is_speakable(self.text):
            raise NothingToSpeak("there is nothing in the text that could be spoken", param="text")
        if self.voice is not None:
            if not (isinstance(self.voice, str) and self.voice):
                raise InvalidRequest("voice must be a non-empty string", param="voice")
            if len(self.voice) > MAX_VOICE_CHARACTERS:
                raise InvalidRequest(f"voice has more than {MAX_VOICE_CHARACTERS} characters", param="voice")
            _require_unicode(self.voice, "voice")
        if not isinstance(self.speed, (int, float)) or isinstance(self.speed, bool):
            raise InvalidRequest("speed must be a number", param="speed")
        if not MIN_SPEED <= self.speed <= MAX_SPEED:  # false for NaN too
            raise InvalidRequest(f"speed must be from {MIN_SPEED} to {MAX_SPEED:g}", param="speed")
        if not (isinstance(self.format, str) and self.format in CONTENT_TYPES):
            raise InvalidRequest(f"format must be one of {', '.join(CONTENT_TYPES)}", param="format")
        if self.sample_rate is not None:
            if not isinstance(self.sample_rate, int) or isinstance(self.sample_rate, bool):
                raise InvalidRequest("sample_rate must be a whole number of Hz", param="sample_rate")
            if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
                rates = f"from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
                raise InvalidRequest(f"sample_rate must be {rates}", param="sample_rate")
        if not (isinstance(self.input_type, str) and self.input_type in INPUT_TYPES):
            raise InvalidRequest(f"input_type must be one of {', '.join(INPUT_TYPES)}", param="input_type")
        for name in ("timestamps", "split"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidRequest(f"{name} must be true or false", param=name)
        if self.resume is not None and not isinstance(self.resume, Resume):
            raise InvalidRequest("resume must be a map of offset and skip_s", param="resume")

    @property
    def content_type(self) -> str:
        """The media type of the audio that this request asks for."""
        return CONTENT_TYPES[self.format]


def is_speakable(text: str) -> bool:
    """Tell whether `text` has a letter, a digit or a mark in it: not space, emoji or pictures alone."""
    return any(unicodedata.category(character)[0] in "LNP" or character in _SAID for character in text)


def _require_unicode(text: str, param: str) -> None:
    """Refuse half of a surrogate pair: JSON's escapes can write one, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise InvalidRequest(f"{param} holds half of a surrogate pair", param=param) from exc


_NAMES: Final = tuple(f.name for f in fields(SpeechRequest))
_LATER: Final = {f.name: f.default for f in fields(SpeechRequest)[5:]}
"""Fields that older nodes do not know, sent only where they say something."""


def encode_request(request: SpeechRequest) -> bytes:
    """Return `request` as a msgpack map without the fields that are None or say nothing new."""
    values = {name: getattr(request, name) for name in _NAMES}
    values = {name: value for name, value in values.items() if value != _LATER.get(name)}
    if request.resume is not None:
        values["resume"] = {"offset": request.resume.offset, "skip_s": request.resume.skip_s}
    return bytes(msgpack.packb(values))


def request_from_map(values: Mapping[Any, Any]) -> SpeechRequest:
    """Make a request of a decoded map; unknown keys are ignored, null is absent.

    Raises:
        InvalidRequest: a field is missing or wrong; `param` names it.
    """
    known = {k: v for k, v in values.items() if k in _NAMES and v is not None}
    if "text" not in known:
        raise InvalidRequest("text is missing", param="text")
    if isinstance(resume := known.get("resume"), Mapping):
        known["resume"] = Resume(resume.get("offset", 0), resume.get("skip_s", 0.0))
    return SpeechRequest(**known)


def decode_request(data: bytes, content_type: str | None = None) -> SpeechRequest:
    """Read a request: a msgpack map, a JSON object, or plain UTF-8 text.

    content_type: the Content-Type header; without one the first byte tells
    (0x80-0x8f a msgpack map, '{' JSON, anything else text).

    Raises:
        InvalidRequest: the bytes are no request.
    """
    kind = _request_kind(data, content_type)
    try:
        if kind == "text":
            return SpeechRequest(data.decode())
        values = msgpack.unpackb(data) if kind == "msgpack" else json.loads(data)
    except UnicodeDecodeError as exc:
        raise InvalidRequest("the request is not UTF-8") from exc
    except (ValueError, msgpack.UnpackException, RecursionError) as exc:
        raise InvalidRequest(f"the request is no {kind}: {exc}") from exc
    if not isinstance(values, dict):
        raise InvalidRequest(f"the request must be a map, not {type(values).__name__}")
    return request_from_map(values)


def _request_kind(data: bytes, content_type: str | None) -> Literal["msgpack", "JSON", "text"]:
    if content_type:
        match content_type.partition(";")[0].strip().lower():
            case "application/msgpack" | "application/x-msgpack" | "application/vnd.msgpack":
                return "msgpack"
            case "application/json":
                return "JSON"
            case "text/plain":
                return "text"
            case other:
                raise InvalidRequest(
                    f"Content-Type {other[:80]} is none of application/msgpack, application/json, text/plain"
                )
    # 0x80-0x8f (a map of up to 15 keys) never begins UTF-8 text; a larger map needs the header.
    if b"\x80" <= data[:1] <= b"\x8f":
        return "msgpack"
    return "JSON" if data[:1] == b"{" else "text"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The headers of a request.

    id: made by the caller's library, the same for every attempt. attempt: 1, and 1 more for each run that
    was lost. budget_s: what is left of the caller's deadline; None is the node's default. stream: the caller
    reads events; otherwise it wants one plain reply. window: bytes of audio that may be unacknowledged.
    """

    id: str
    attempt: int = 1
    budget_s: float | None = None
    stream: bool = False
    window: int = DEFAULT_WINDOW_BYTES
    traceparent: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the NATS headers; what has its default value is left out."""
        values = {ID: self.id}
        if self.attempt != 1:
            values[ATTEMPT] = str(self.attempt)
        if self.budget_s is not None:
            values[BUDGET_MS] = str(max(0, round(self.budget_s * 1000)))
        if self.stream:
            values[REPLY] = "stream"
            if self.window != DEFAULT_WINDOW_BYTES:
                values[WINDOW] = str(self.window)
        if self.traceparent is not None:
            values[TRACEPARENT] = self.traceparent
        return values

    @classmethod
    def from_headers(cls, headers: Mapping[str, str] | None, *, default_id: str) -> Envelope:
        """Read the headers of a request; absent ones take their defaults.

        Raises:
            InvalidRequest: a number is none, or is negative.
        """
        headers = headers or {}
        id = headers.get(ID) or default_id
        if len(id) > MAX_ID_CHARACTERS or not (id.isascii() and id.isprintable()):
            raise InvalidRequest(f"{ID} must be at most {MAX_ID_CHARACTERS} printable ASCII characters")
        reply = headers.get(REPLY, "")
        if reply not in ("", "stream"):
            raise InvalidRequest(f"{REPLY} must be 'stream' or absent")
        budget_ms = _header_number(headers, BUDGET_MS, None)
        return cls(
            id=id,
            attempt=_header_number(headers, ATTEMPT, 1) or 1,
            budget_s=None if budget_ms is None else budget_ms / 1000,
            stream=reply == "stream",
            window=_header_number(headers, WINDOW, None) or DEFAULT_WINDOW_BYTES,
            traceparent=headers.get(TRACEPARENT),
        )


def _header_number(headers: Mapping[str, str], name: str, default: int | None) -> int | None:
    text = headers.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise InvalidRequest(f"header {name} must be a whole number, not {text[:40]!r}")
    return int(text)
