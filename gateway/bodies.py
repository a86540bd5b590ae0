"""Bodies: reading one within its bounds, and what that of POST /tts asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from antiphon.errors import InvalidRequest, TextTooLong
from antiphon.request import SpeechRequest, request_from_map
from antiphon.subjects import check_token

_EXAMPLE: Final = '{"text": "hello"}'


@dataclass(frozen=True, slots=True)
class Asked:
    """What one POST /tts asks for. model: None is the default. stream: send the audio as it is made."""

    speech: SpeechRequest
    model: str | None = None
    stream: bool = False


async def read_body(request: web.Request, *, max_bytes: int, within_s: float) -> bytes:
    """Return the whole body.

    Raises:
        web.HTTPUnsupportedMediaType: it is compressed.
        web.HTTPRequestEntityTooLarge: it is, or says that it will be, larger than `max_bytes`.
        web.HTTPRequestTimeout: it did not arrive in time.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="send the body uncompressed")
    if request.content_length is not None and request.content_length > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_bytes, request.content_length)
    try:
        async with asyncio.timeout(within_s):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {within_s:g} s") from None


def parse_body(body: bytes, content_type: str | None, *, max_characters: int) -> Asked:
    """Read JSON, or plain text as the text itself; unknown keys are ignored, null is absent.

    content_type: the Content-Type header. Without one, a body that begins with '{' is JSON, else text.

    Raises:
        InvalidRequest: the body is not what it should be; `param` names the key at fault.
        TextTooLong: the text has more than `max_characters`.
        web.HTTPUnsupportedMediaType: neither JSON nor plain text.
    """
    text = is_text(body, content_type)
    asked = Asked(SpeechRequest(_decoded(body))) if text else _from_map(load_object(body, example=_EXAMPLE))
    check_length(asked.speech.text, max_characters)
    return asked


def check_length(text: str, max_characters: int) -> None:
    """Raise TextTooLong if `text` has more than `max_characters`."""
    if len(text) > max_characters:
        raise TextTooLong(f"the text has {len(text)} characters, more than {max_characters}", param="text")


def is_text(body: bytes, content_type: str | None) -> bool:
    """Tell plain text (True) from JSON (False). Raises web.HTTPUnsupportedMediaType for anything else."""
    if not content_type:
        return not body.lstrip().startswith(b"{")
    match content_type.partition(";")[0].strip().lower():
        case "application/json":
            return False
        case "text/plain":
            return True
        case "application/x-www-form-urlencoded":  # what curl -d says by itself
            hint = "; with curl add -H 'Content-Type: application/json'"
        case _:
            hint = ""
    raise web.HTTPUnsupportedMediaType(text=f"send application/json or text/plain{hint}")


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise InvalidRequest("the body is not UTF-8") from exc


def load_object(body: bytes, *, example: str) -> dict[str, Any]:
    """Read a JSON object. Raises InvalidRequest, with the example if it is JSON but no object."""
    try:
        values = json.loads(body)
    except UnicodeDecodeError as exc:
        raise InvalidRequest("the body is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is no JSON: {exc.msg} at character {exc.pos}") from exc
    except (ValueError, RecursionError) as exc:  # a number of thousands of digits; as many brackets
        raise InvalidRequest("the body is JSON that is too large or too deep") from exc
    if not isinstance(values, dict):
        raise InvalidRequest(f"the body must be a JSON object, such as {example}")
    return values


def _from_map(values: Mapping[str, Any]) -> Asked:
    text = values.get("text")
    if isinstance(text, list):
        if not all(isinstance(part, str) for part in text):
            raise InvalidRequest("text must be a string or a list of strings", param="text")
        values = {**values, "text": "\n\n".join(text)}
    values = {**values, "resume": None}  # of no use here: an answer over HTTP begins at the beginning
    return Asked(request_from_map(values), _model(values.get("model")), _stream(values.get("stream")))


def _model(value: object) -> str | None:
    if value is None:
        return None
    with suppress(ValueError):
        if isinstance(value, str):
            return check_token(value)
    raise InvalidRequest("model must be a name of letters, digits, '_' and '-'", param="model")


def _stream(value: object) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise InvalidRequest("stream must be true or false", param="stream")
    return value
