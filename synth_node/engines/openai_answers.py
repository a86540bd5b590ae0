"""What an OpenAI-compatible server answers: its errors in our words, and its samples. No I/O."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from antiphon.errors import (
    EngineFailed,
    InvalidRequest,
    NothingToSpeak,
    SpeechError,
    TextTooLong,
    UnknownVoice,
)
from synth_node.engines.openai_settings import API_KEY, PREFIX

MAX_MESSAGE_CHARACTERS: Final = 200
"""Of a server's own words that go into an error of ours."""
_NO_MONEY: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_NO_MODEL: Final = {"model_not_found", "invalid_model"}
_TOO_LONG: Final = {"string_above_max_length", "text_too_long"}
_OUR_NAMES: Final = {"input": "text", "voice": "voice", "speed": "speed"}
_ENCODED: Final = ("mpeg", "mp3", "ogg", "opus", "flac", "aac", "mp4", "m4a", "webm")
_MAGIC: Final = (b"ID3", b"OggS", b"fLaC")
_ENDLESS: Final = sys.maxsize
_MAX_HEAD_BYTES: Final = 64 * 1024
_NO_SIZE: Final = 0x7FFF_0000
"""A WAV file whose length was not known when it began says this or more, or 0."""


class Misconfigured(Exception):
    """Every request fails in the same way until somebody mends the settings or the account."""


class Failing(Exception):
    """The server, or the way there, fails now; another try may do better."""


class Busy(Exception):
    """The server refuses because it is asked for too much. after_s: when it wants to be asked again."""

    def __init__(self, text: str, after_s: float | None) -> None:
        super().__init__(text)
        self.after_s = after_s


@dataclass(frozen=True, slots=True)
class Told:
    """A server's account of its error; whatever it does not tell is empty."""

    message: str = ""
    code: str = ""
    param: str = ""


def told(body: bytes, key: str | None = None) -> Told:
    """Read the JSON of an error, in the form of OpenAI, of FastAPI and of some others.

    The message is bounded, without control characters and without `key`.
    """
    text = body.decode(errors="replace")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return Told("" if text.lstrip().startswith("<") else clean(text, key))
    values = values if isinstance(values, dict) else {"message": values}
    error = values.get("error") or values.get("detail") or values
    if isinstance(error, list):  # what FastAPI finds wrong: {"loc": ["body", "voice"], "msg": ...}
        first = error[0] if error and isinstance(error[0], dict) else {}
        where = first.get("loc") or [""]
        return Told(clean(first.get("msg"), key), param=_name(where[-1] if isinstance(where, list) else ""))
    if not isinstance(error, dict):
        return Told(clean(error, key))
    code = error.get("code") or error.get("error") or error.get("type")
    return Told(clean(error.get("message"), key), _name(code), _name(error.get("param")))


def clean(text: Any, key: str | None) -> str:
    """Return a server's words as one bounded line that does not show `key`."""
    if not isinstance(text, str):
        return ""
    if key:
        text = text.replace(key, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= MAX_MESSAGE_CHARACTERS else f"{line[:MAX_MESSAGE_CHARACTERS]}…"


def _name(value: Any) -> str:
    return value[:100] if isinstance(value, str) else ""


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, key: str | None, now: datetime
) -> SpeechError | Misconfigured | Failing | Busy:
    """Return what the answer to a request for speech means that is no success.

    headers: found by any spelling of their names.
    """
    error = told(body, key)
    said = f"the server answered {status}{': ' if error.message else ''}{error.message}"
    if (settings := _fault_of_settings(status, headers, error, said, key)) is not None:
        return Misconfigured(settings)
    if status in (429, 503):
        return Busy(said, retry_after_s(headers, now))
    if status in (408, 409) or status >= 500:
        final = headers.get("X-Should-Retry", "").lower() == "false"
        return EngineFailed(said) if final else Failing(said)
    if error.code in _TOO_LONG or status == 413:
        return TextTooLong(f"{said}; SYNTH_SEGMENT_CHARACTERS bounds what is sent at once", param="text")
    if error.code == NothingToSpeak.code:
        return NothingToSpeak(said, param="text")
    if error.param == "voice" or error.code == UnknownVoice.code:
        return UnknownVoice(said, param="voice")
    if error.param in _OUR_NAMES:
        return InvalidRequest(said, param=_OUR_NAMES[error.param])
    return EngineFailed(said)


def _fault_of_settings(
    status: int, headers: Mapping[str, str], error: Told, said: str, key: str | None
) -> str | None:
    """Return a sentence that names the setting at fault, None if none is."""
    if status == 401:
        # The words of the server are left out: they may show a part of the key.
        return f"the server wants another {API_KEY}" if key else f"the server wants a key: set {API_KEY}"
    if status == 402 or error.code in _NO_MONEY:
        return f"the account of {API_KEY} has nothing left to spend: {said}"
    if status == 403:
        return f"{API_KEY} may not do this: {said}"
    if 300 <= status < 400:
        target = clean(headers.get("Location", ""), key).partition("?")[0]
        return f"the server sends us on to {target!r}, where no key goes: set {PREFIX}BASE_URL"
    if error.code in _NO_MODEL or error.param == "model" or (status == 404 and "model" in said.lower()):
        return f"{PREFIX}MODEL is not known there: {said}"
    if error.param == "response_format":
        return f"{PREFIX}FORMAT is not known there: {said}"
    if status in (404, 405, 501) and error.param != "voice":
        return f"{PREFIX}BASE_URL has no /audio/speech behind it: {said}"
    return None


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds after which a server wants to be asked again, None if it does not say."""
    for name, unit_s in (("Retry-After-Ms", 0.001), ("Retry-After", 1.0)):
        value = headers.get(name, "").strip()
        try:
            after_s = float(value) * unit_s
        except ValueError:
            continue
        if 0 <= after_s < float("inf"):
            return after_s
    try:
        then = parsedate_to_datetime(headers.get("Retry-After", ""))
    except (ValueError, OverflowError):
        return None
    then = then if then.tzinfo is not None else then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())


def check_kind(content_type: str, asked: str, sample_rate: int) -> None:
    """Look at the type of an answer with status 200.

    asked: `pcm` or `mp3`. sample_rate: in Hz, of the samples that are expected.

    Raises:
        Misconfigured: it cannot be what was asked for, and will not be the next time.
        EngineFailed: it is some text.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind == "text/html":
        raise Misconfigured(f"{PREFIX}BASE_URL leads to a web page, not to an OpenAI-compatible server")
    if kind.startswith("text/") or kind.endswith("json"):
        raise EngineFailed(f"the server answered {clean(kind, None)} where audio was asked for")
    if asked == "pcm":
        if any(name in kind for name in _ENCODED):
            raise _encoded(clean(kind, None))
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "rate" and value.isdecimal():
                _check_rate(int(value), sample_rate)


def _encoded(kind: str) -> Misconfigured:
    return Misconfigured(f"the server sends {kind} where pcm was asked for: set {PREFIX}FORMAT=mp3")


def _check_rate(found: int, sample_rate: int) -> None:
    if found != sample_rate:
        raise Misconfigured(f"the server's samples have {found} Hz: set {PREFIX}SAMPLE_RATE={found}")


class Samples:
    """Takes mono s16le samples out of a body that is nothing else, or a WAV file though it was not asked for.

    sample_rate: in Hz, expected.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._head = b""
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Return the samples of what comes next. Raises Misconfigured or EngineFailed."""
        if self._left is None:
            self._head += data
            place = self._place()
            if place is None:
                return b""
            data, self._head, self._left = self._head[place[0] :], b"", place[1]
        data = data[: self._left]
        self._left -= len(data)
        return data

    def end(self) -> bytes:
        """Return what was held back. Raises Failing if a WAV file is shorter than it says."""
        if self._left is None and not self._head.startswith(b"RIFF"):
            return self._head
        if self._left is None or 0 < self._left < _NO_SIZE:
            raise Failing("the server's WAV file ended early")
        return b""

    def _place(self) -> tuple[int, int] | None:
        """Return where the samples begin and how many bytes they are; None while that cannot be told."""
        head = self._head
        if len(head) < 12 and (len(head) < 4 or head.startswith(b"RIFF")):
            return None
        if head.startswith(_MAGIC):
            raise _encoded("an encoded file")
        if not head.startswith(b"RIFF") or head[8:12] != b"WAVE":
            return 0, _ENDLESS
        at, format_found = 12, False
        while len(head) >= at + 8:
            name, size = struct.unpack_from("<4sI", head, at)
            if name == b"data":
                if not format_found:
                    raise EngineFailed("the server's WAV file does not tell its format")
                return at + 8, size if 0 < size < _NO_SIZE else _ENDLESS
            if name == b"fmt " and len(head) >= at + 24:
                self._check_format(head[at + 8 : at + 24])
                format_found = True
            at += 8 + size + size % 2
        if len(head) > _MAX_HEAD_BYTES:
            raise EngineFailed("there are no samples in the server's WAV file")
        return None

    def _check_format(self, format: bytes) -> None:
        """Check the chunk `fmt `: tag, channels, sample rate, bytes/s, bytes/frame, bits/sample."""
        tag, n_channels, rate, _, _, n_bits = struct.unpack("<HHIIHH", format)
        if tag not in (1, 0xFFFE) or n_channels != 1 or n_bits != 16:
            is_now = f"{n_channels} channels of {n_bits} bits, format {tag}"
            raise Misconfigured(f"the server's WAV file has {is_now}: set {PREFIX}FORMAT=mp3")
        _check_rate(rate, self._sample_rate)
