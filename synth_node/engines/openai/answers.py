"""What an OpenAI-compatible server says: its errors in our words, and its voices. No I/O."""

from __future__ import annotations

import json
import re
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
from antiphon.heartbeat import Voice
from antiphon.openai_voices import OPENAI_VOICES
from synth_node.engines.openai.settings import API_KEY, PREFIX
from synth_node.network.trouble import Busy, Doubtful, Failing, Misconfigured, clean

_MAX_VOICES: Final = 2000
_NO_MONEY: Final = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_NO_MODEL: Final = {"model_not_found", "invalid_model"}
_TOO_LONG: Final = {"string_above_max_length", "text_too_long"}
_CONTENT: Final = re.compile(r"content(?!_?(type|length))|policy|moderation")
"""In the code of an error: what was to be said is not wanted."""
_NAME: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_OUR_NAMES: Final = {"input": "text", "voice": "voice", "speed": "speed"}


@dataclass(frozen=True, slots=True)
class Told:
    """A server's account of its error; whatever it does not tell is empty."""

    message: str = ""
    code: str = ""
    param: str = ""


def told(body: bytes, content_type: str = "", key: str | None = None) -> Told:
    """Read the JSON of an error, in the form of OpenAI, of FastAPI and of some others; else plain text.

    The message is bounded, without control characters and without `key`.
    """
    text = body.decode(errors="replace")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        is_text = content_type.lower().startswith("text/") and not text.lstrip().startswith("<")
        return Told(clean(text, key) if is_text else "")
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


def _name(value: Any) -> str:
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""


def failure(
    status: int, headers: Mapping[str, str], body: bytes, *, key: str | None, now: datetime
) -> SpeechError | Misconfigured | Failing | Busy:
    """Return what the answer to a request for speech means that is no success.

    headers: found by any spelling of their names.
    """
    error = told(body, headers.get("Content-Type", ""), key)
    answer = f"the server answered {status}{f' ({error.code})' if error.code else ''}"
    if 400 <= status < 500 and status != 401 and _CONTENT.search(error.code.lower()):
        return InvalidRequest(f"{answer}: {error.message}" if error.message else answer, param="text")
    if (settings := _fault_of_settings(status, headers, error, answer, key)) is not None:
        return settings
    if status in (429, 503):
        return Busy(answer, error.message, retry_after_s(headers, now))
    failing = Failing(answer, error.message)
    if status in (408, 409) or status >= 500:
        final = headers.get("X-Should-Retry", "").lower() == "false"
        return EngineFailed(failing.in_full) if final else failing
    return _fault_of_request(status, error, failing.in_full)


def no_audio(said: str, body: bytes, content_type: str, key: str | None) -> EngineFailed:
    """Return what an answer with status 200 means that is some text; its own words may tell why."""
    words = told(body, content_type, key).message
    return EngineFailed(f"{said}: {words}" if words else said)


def _fault_of_request(status: int, error: Told, said: str) -> SpeechError:
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
    status: int, headers: Mapping[str, str], error: Told, answer: str, key: str | None
) -> Misconfigured | None:
    """Return what names the setting at fault, None if none is."""
    words = error.message
    may_not = f"{API_KEY} may not do this: {answer}"
    if status == 401 and "missing scopes" in words.lower():
        return Misconfigured(may_not, words)
    if status == 401:
        # The server's words are left out: they may show a part of the key.
        return Misconfigured(
            f"the server wants another {API_KEY}" if key else f"the server wants a key: set {API_KEY}"
        )
    if status == 402 or error.code in _NO_MONEY:
        return Misconfigured(f"the account of {API_KEY} has nothing left to spend: {answer}", words)
    no_model = f"{PREFIX}MODEL is not known there: {answer}"
    if error.code in _NO_MODEL or error.param == "model":
        return Misconfigured(no_model, words)
    if error.param == "response_format":
        return Misconfigured(f"{PREFIX}FORMAT is not known there: {answer}", words)
    if status == 403:
        return Doubtful(may_not, words)
    if 300 <= status < 400:
        target = clean(headers.get("Location", ""), key).partition("?")[0]
        return Doubtful(f"the server sends us on to {target!r}, where no key goes: set {PREFIX}BASE_URL")
    if status == 404 and "model" in words.lower():
        return Doubtful(no_model, words)
    if status in (404, 405, 501) and error.param != "voice":
        return Doubtful(f"{PREFIX}BASE_URL has no /audio/speech behind it: {answer}", words)
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


def listed_voices(listed: Any) -> tuple[Voice, ...]:
    """Return the voices of a list in any known shape; OpenAI's where there is none."""
    values = listed.get("voices", listed.get("data")) if isinstance(listed, dict) else listed
    found: dict[str, Voice] = {}
    for value in values[:_MAX_VOICES] if isinstance(values, list) else ():
        each = value if isinstance(value, dict) else {"id": value}
        id, name, language = (
            next((each[key] for key in keys if _is_text(each.get(key))), "")
            for keys in (("id", "voice_id", "name"), ("name",), ("language", "lang", "locale"))
        )
        if 0 < len(id) <= 200:
            found.setdefault(id, Voice(id, name[:200], language[:40]))
    return tuple(found.values()) or tuple(Voice(id) for id in OPENAI_VOICES)


def _is_text(value: Any) -> bool:
    """Tell whether it is a string that a message of ours can hold; JSON may hold half a character."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value
