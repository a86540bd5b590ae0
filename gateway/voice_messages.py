"""What comes in on a voice stream, and how one ends. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from aiohttp import WSCloseCode

from antiphon.errors import InvalidRequest, SpeechError
from antiphon.request import SpeechRequest
from antiphon.subjects import check_token
from gateway.http_errors import close_code_of, speech_error_values

PCM_SAMPLE_RATE: Final = 24_000
"""Sample rate of pcm unless another is asked for, in Hz: no header tells it, so it must be a fixed one."""
MAX_REASON_BYTES: Final = 123
"""Longest reason that a close frame has room for; RFC 6455, 5.5."""


@dataclass(frozen=True, slots=True)
class Close:
    """The end of a stream. error: what is sent before the close frame, if something went wrong."""

    code: int
    reason: str = ""
    error: Mapping[str, Any] | None = None

    @property
    def reason_bytes(self) -> bytes:
        """The reason as far as it fits."""
        return self.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode()


DONE: Final = Close(WSCloseCode.OK, "done")
IDLE: Final = Close(WSCloseCode.GOING_AWAY, "nothing was said for too long")
DRAINED: Final = Close(WSCloseCode.GOING_AWAY, "this gateway is leaving: connect again")


def failed(error: SpeechError, code: int | None = None) -> Close:
    """Return the end that `error` brings. code: a close code more exact than the error's own."""
    values = speech_error_values(error)
    return Close(close_code_of(error) if code is None else code, f"{error.code}: {values['message']}", values)


class Refused(Exception):
    """The client broke the protocol; `close` tells it so."""

    def __init__(self, error: SpeechError, code: int | None = None) -> None:
        super().__init__(str(error))
        self.close = failed(error, code)


@dataclass(frozen=True, slots=True)
class Options:
    """How to speak. A sentence is spoken with those that hold when it is complete.

    Raises:
        InvalidRequest: a value is not allowed; `param` names the option.
    """

    voice: str | None = None
    model: str | None = None
    speed: float = 1.0
    format: str = "pcm"
    sample_rate: int | None = None
    timestamps: bool = False

    def __post_init__(self) -> None:
        self.request("a")
        try:
            if self.model is not None:
                check_token(self.model)
        except (TypeError, ValueError):
            raise InvalidRequest(
                "model must be a name of letters, digits, '_' and '-'", param="model"
            ) from None

    def request(self, text: str) -> SpeechRequest:
        """Return what asks for `text` to be spoken like this."""
        sample_rate = self.sample_rate
        if sample_rate is None and self.format == "pcm":
            sample_rate = PCM_SAMPLE_RATE
        return SpeechRequest(
            text, self.voice, self.speed, self.format, sample_rate, timestamps=self.timestamps
        )

    def with_values(self, values: Mapping[str, Any]) -> Options:
        """Return these options with what `values` says of them; null is absent."""
        told = {name: values[name] for name in OPTIONS if values.get(name) is not None}
        return replace(self, **told) if told else self


OPTIONS: Final = tuple(Options.__dataclass_fields__)


def options_of_query(query: Mapping[str, str]) -> Options:
    """Read the options from a query string; unknown and empty ones are ignored.

    Raises:
        InvalidRequest: a value is not allowed; `param` names the option.
    """
    values: dict[str, Any] = {name: query[name] for name in OPTIONS if query.get(name)}
    for name, kind, what in (("speed", float, "a number"), ("sample_rate", int, "a whole number of Hz")):
        try:
            if name in values:
                values[name] = kind(values[name])
        except ValueError:
            raise InvalidRequest(f"{name} must be {what}", param=name) from None
    if "timestamps" in values:
        values["timestamps"] = {"true": True, "false": False}.get(values["timestamps"], values["timestamps"])
    return Options().with_values(values)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the client. Of several keys, cancel goes first, then the options, text, flush, end."""

    text: str = ""
    flush: bool = False
    cancel: bool = False
    end: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


_FLAGS: Final = ("flush", "cancel", "end")
_KEYS: Final = frozenset({"text", *_FLAGS, *OPTIONS})


def parse_message(data: str) -> Message:
    """Read one message; keys that nobody knows are ignored beside one that is known, null is absent.

    Raises:
        Refused: it is no JSON object (1007), or no message of this protocol (1008).
    """
    values = _loaded(data)
    if not _KEYS & values.keys():
        known = ", ".join(["text", *_FLAGS, *OPTIONS])
        raise Refused(InvalidRequest(f"a message needs one of {known}"))
    text = values.get("text")
    if not isinstance(text, str | None):
        raise Refused(InvalidRequest("text must be a string", param="text"))
    if any("\ud800" <= character <= "\udfff" for character in text or ""):
        error = InvalidRequest("text holds half of a surrogate pair", param="text")
        raise Refused(error, WSCloseCode.INVALID_TEXT)
    for name in _FLAGS:
        if not isinstance(values.get(name), bool | None):
            raise Refused(InvalidRequest(f"{name} must be true or false", param=name))
    flags = {name: bool(values.get(name)) for name in _FLAGS}
    return Message(text or "", **flags, options={k: v for k, v in values.items() if k in OPTIONS})


def _loaded(data: str) -> Mapping[str, Any]:
    try:
        values = json.loads(data)
    except json.JSONDecodeError as exc:
        error = InvalidRequest(f"the message is no JSON: {exc.msg} at character {exc.pos}")
        raise Refused(error, WSCloseCode.INVALID_TEXT) from None
    except (ValueError, RecursionError):  # a number of thousands of digits; as many brackets
        error = InvalidRequest("the message is JSON that is too large or too deep")
        raise Refused(error, WSCloseCode.INVALID_TEXT) from None
    if not isinstance(values, dict):
        error = InvalidRequest('a message must be a JSON object, such as {"text": "hello"}')
        raise Refused(error, WSCloseCode.INVALID_TEXT)
    return values
