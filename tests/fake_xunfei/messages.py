"""The two services' requests and frames. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

from tests.fake_xunfei.apps import App
from tests.fake_xunfei.voice import Manner

MAX_TEXT_BYTES: Final = 8000
"""The text in its encoding has to be shorter."""
ENCODINGS: Final = {
    "UTF8": "utf-8",
    "UNICODE": "utf-16-le",
    "GB2312": "gb2312",
    "GBK": "gbk",
    "BIG5": "big5",
    "GB18030": "gb18030",
}
_RATES: Final = {None: 16000, "audio/L16;rate=8000": 8000, "audio/L16;rate=16000": 16000}
_LEVELS: Final = ("speed", "volume", "pitch")


@dataclass(frozen=True, slots=True)
class Order:
    """A valid request.

    text: as decoded; n_bytes: its length in its encoding. streams: mp3 may come in pieces.
    values: the whole message.
    """

    text: str
    n_bytes: int
    manner: Manner
    streams: bool
    values: dict[str, Any]


class Invalid(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Service(Protocol):
    """One of the two: how its requests are read and its frames written."""

    def read(self, message: str | bytes, app: App) -> Order:
        """Return what is asked for. Raises Invalid."""

    def frame(self, audio: bytes | None, *, last: bool, at: int, seq: int, sid: str | None) -> dict[str, Any]:
        """Return a frame with audio; None leaves the part with the audio out."""

    def error(self, code: int, message: str, sid: str) -> dict[str, Any]:
        """Return an error frame."""


def _object(message: str | bytes, code: int) -> dict[str, Any]:
    try:
        values = json.loads(message) if isinstance(message, str) else None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise Invalid(code, "parse request json error")
    return values


def _part(values: dict[str, Any], name: str) -> dict[str, Any]:
    part = values.get(name)
    return part if isinstance(part, dict) else {}


def _text(encoded: Any, encoding: str, bad_base64: Invalid, *, limit: int) -> tuple[str, int]:
    try:
        if not isinstance(encoded, str):
            raise ValueError
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise bad_base64 from None
    if not 0 < len(data) < limit:
        raise Invalid(10109, "AIGES_ERROR_INVALID_DATA")
    if encoding == "utf-16-le":
        data = data.removeprefix(b"\xff\xfe")
    try:
        return data.decode(encoding), len(data)
    except UnicodeDecodeError:
        raise Invalid(10163, "param validate error:/data 'text' is not in the encoding of tte") from None


def _is_level(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 100


class Online:
    """Online TTS, /v2/tts."""

    def read(self, message: str | bytes, app: App) -> Order:
        """Return what is asked for. Raises Invalid."""
        values = _object(message, 10160)
        common, business, data = (_part(values, name) for name in ("common", "business", "data"))
        if "app_id" not in common:
            raise Invalid(10163, "param validate error:/common 'app_id' param is required")
        if common["app_id"] == "":
            raise Invalid(10313, "appid cannot be empty")
        if common["app_id"] != app.app_id:
            raise Invalid(10313, "invalid appid")
        self._check(business)
        if type(data.get("status")) is not int or data["status"] != 2:
            raise Invalid(10163, "param validate error:/data 'status' must be 2")
        encoding = ENCODINGS[business.get("tte", "UTF8").upper()]
        broken = Invalid(10161, "parse base64 string error")
        text, n_bytes = _text(data.get("text"), encoding, broken, limit=MAX_TEXT_BYTES)
        if business["vcn"] not in app.voices:
            raise Invalid(11200, "licc failed")
        manner = Manner(
            voice=business["vcn"],
            speed=business.get("speed", 50),
            volume=business.get("volume", 50),
            pitch=business.get("pitch", 50),
            sample_rate=_RATES[business.get("auf")],
            mp3=business["aue"] == "lame",
        )
        return Order(text, n_bytes, manner, not manner.mp3 or business.get("sfl") == 1, values)

    def _check(self, business: dict[str, Any]) -> None:
        for name in ("aue", "vcn"):
            if not isinstance(business.get(name), str) or not business[name]:
                raise Invalid(10163, f"param validate error:/business '{name}' param is required")
        tte = business.get("tte", "UTF8")
        wrong: list[str] = [name for name in _LEVELS if name in business and not _is_level(business[name])]
        wrong += ["bgs"] if business.get("bgs", 0) not in (0, 1) else []
        wrong += ["sfl"] if "sfl" in business and (business["sfl"] != 1 or business["aue"] != "lame") else []
        wrong += ["auf"] if business.get("auf") not in _RATES else []
        wrong += ["aue"] if business["aue"] not in ("raw", "lame") else []
        wrong += ["tte"] if not isinstance(tte, str) or tte.upper() not in ENCODINGS else []
        if wrong:
            raise Invalid(10163, f"param validate error:/business '{wrong[0]}' has no such value")

    def frame(self, audio: bytes | None, *, last: bool, at: int, seq: int, sid: str | None) -> dict[str, Any]:
        """Return a frame with audio; None leaves the part with the audio out."""
        values: dict[str, Any] = {"code": 0, "message": "success"}
        if sid is not None:
            values["sid"] = sid
        if audio is not None:
            status = 2 if last else 1
            values["data"] = {"audio": base64.b64encode(audio).decode(), "status": status, "ced": str(at)}
        return values

    def error(self, code: int, message: str, sid: str) -> dict[str, Any]:
        """Return an error frame."""
        return {"code": code, "message": message, "sid": sid}


class SuperHuman:
    """Super-human TTS, /v1/private/…; a text may come in several messages."""

    def __init__(self) -> None:
        self._encoding = "raw"
        self._sample_rate = 24000

    def read(self, message: str | bytes, app: App) -> Order:
        """Return what is asked for by the message that ends the text. Raises Invalid."""
        values = _object(message, 10163)
        header, tts = _part(values, "header"), _part(_part(values, "parameter"), "tts")
        audio, text = _part(tts, "audio"), _part(_part(values, "payload"), "text")
        if not header.get("app_id"):
            raise Invalid(10313, "app_id cannot be empty")
        if header["app_id"] != app.app_id:
            raise Invalid(10313, "app_id and api_key does not match")
        self._check(header, tts, audio, text)
        broken = Invalid(10163, "resolve request error:base64 decode error")
        spoken, n_bytes = _text(text.get("text"), "utf-8", broken, limit=MAX_TEXT_BYTES)
        if tts["vcn"] not in app.voices:
            raise Invalid(11200, "licc failed")
        self._encoding, self._sample_rate = audio["encoding"], audio.get("sample_rate", 24000)
        manner = Manner(
            voice=tts["vcn"],
            speed=tts.get("speed", 50),
            volume=tts.get("volume", 50),
            pitch=tts.get("pitch", 50),
            sample_rate=self._sample_rate,
            mp3=self._encoding == "lame",
        )
        return Order(spoken, n_bytes, manner, True, values)

    def _check(
        self, header: dict[str, Any], tts: dict[str, Any], audio: dict[str, Any], text: dict[str, Any]
    ) -> None:
        wrong = ["$.header.status"] if header.get("status") != 2 else []
        wrong += ["$.parameter.tts.vcn"] if not isinstance(tts.get("vcn"), str) else []
        wrong += [f"$.parameter.tts.{n}" for n in _LEVELS if n in tts and not _is_level(tts[n])]
        wrong += ["$.parameter.tts.audio.encoding"] if audio.get("encoding") not in ("raw", "lame") else []
        rate = audio.get("sample_rate", 24000)
        wrong += ["$.parameter.tts.audio.sample_rate"] if rate not in (8000, 16000, 24000) else []
        wrong += ["$.parameter.tts.audio.channels"] if audio.get("channels", 1) != 1 else []
        wrong += ["$.parameter.tts.audio.bit_depth"] if audio.get("bit_depth", 16) != 16 else []
        wrong += ["$.payload.text.encoding"] if text.get("encoding", "utf8") != "utf8" else []
        wrong += ["$.payload.text.status"] if text.get("status") != 2 else []
        if wrong:
            raise Invalid(10163, f"parameter schema validate error: '{wrong[0]}' has no such value; ")

    def frame(self, audio: bytes | None, *, last: bool, at: int, seq: int, sid: str | None) -> dict[str, Any]:
        """Return a frame with audio; None leaves the payload out."""
        status = 2 if last else 1
        header = {"code": 0, "message": "success", "status": 0 if audio is None else status}
        values: dict[str, Any] = {"header": header if sid is None else {**header, "sid": sid}}
        if audio is not None:
            values["payload"] = {
                "audio": {
                    "encoding": self._encoding,
                    "sample_rate": self._sample_rate,
                    "channels": 1,
                    "bit_depth": 16,
                    "status": status,
                    "seq": seq,
                    "frame_size": 0,
                    "ced": str(at),
                    "audio": base64.b64encode(audio).decode(),
                }
            }
        return values

    def error(self, code: int, message: str, sid: str) -> dict[str, Any]:
        """Return an error frame."""
        return {"header": {"code": code, "message": message, "sid": sid, "status": 0}}


def positions(text: str, encoding_bytes: int) -> list[int]:
    """Return the rising byte positions that `ced` tells: the ends of sentences, the last one is the end."""
    ends = [match.end() for match in re.finditer(r"[。！？.!?]+", text)]
    share = [round(end * encoding_bytes / max(len(text), 1)) for end in ends if end < len(text)]
    return [*share, encoding_bytes]
