"""Replies as OpenAPI describes them: their headers, and every error with its codes."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from itertools import groupby
from typing import Final

from antiphon.errors import SpeechError
from antiphon.request import AUDIO_MS, ID, NODE, SYNTHESIS_MS
from gateway.http_errors import HTTP_CODES, REQUEST_ID_HEADER
from gateway.openapi_schemas import COUNT, STATUS_OF_CODE, STRING, Json, ref
from gateway.streaming import MODEL

OF_EVERY_REQUEST: Final = tuple(HTTP_CODES[status] for status in (400, 431, 500, 503))
OF_A_BODY: Final = tuple(HTTP_CODES[status] for status in (408, 413, 415))
NO_KEY: Final = HTTP_CODES[401]
OF_SPEECH: Final = tuple(SpeechError.codes())

HEADERS: Final[dict[str, Json]] = {
    REQUEST_ID_HEADER: {
        "description": "The request's own, or one made up.",
        "required": True,
        "schema": STRING,
    },
    "Retry-After": {
        "description": "Seconds until a retry is of use.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Retry-After-Ms": {
        "description": "The same in milliseconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "X-Should-Retry": {
        "description": "The same request would fail the same way.",
        "required": True,
        "schema": {"const": "false"},
    },
    "WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}},
    "Upgrade": {"required": True, "schema": {"const": "websocket"}},
    "Allow": {"description": "The methods of this path.", "required": True, "schema": STRING},
    ID: {"description": "The utterance, as the node's log names it.", "required": True, "schema": STRING},
    NODE: {"description": "The node that spoke.", "required": True, "schema": STRING},
    MODEL: {"description": "The model that spoke.", "required": True, "schema": STRING},
    AUDIO_MS: {"description": "Duration of the audio; not known of a stream.", "schema": COUNT},
    SYNTHESIS_MS: {"description": "Time that the node took; not known of a stream.", "schema": COUNT},
}
_OF_STATUS: Final = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    426: ("Upgrade",),
    500: ("X-Should-Retry",),
    503: ("Retry-After", "Retry-After-Ms"),
    504: ("X-Should-Retry",),
}


def reply(description: str, content: Json | None = None, *, headers: Iterable[str] = ()) -> Json:
    """Return one response. content: schema by media type, None for no body."""
    names = [REQUEST_ID_HEADER, *headers]
    made: Json = {
        "description": description,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    return made if content is None else {**made, "content": content}


def json_reply(description: str, schema: str) -> Json:
    """Return one response of JSON."""
    return reply(description, {"application/json": {"schema": ref(schema)}})


def errors(codes: Iterable[str]) -> dict[str, Json]:
    """Return the response of each status that these codes have."""
    by_status = sorted({*OF_EVERY_REQUEST, *codes}, key=lambda code: (STATUS_OF_CODE[code], code))
    return {
        str(status): error(status, list(of_status))
        for status, of_status in groupby(by_status, key=STATUS_OF_CODE.__getitem__)
    }


def error(status: int, codes: Iterable[str]) -> Json:
    """Return the response of one status: the one shape of every error, with one of these codes."""
    codes = list(codes)
    narrowed = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    meanings = "\n".join(f"* `{code}`{_meaning(code)}" for code in codes)
    return reply(
        f"{HTTPStatus(status).phrase}\n\n{meanings}",
        {"application/json": {"schema": {"allOf": [ref("Error"), narrowed]}}},
        headers=_OF_STATUS.get(status, ()),
    )


def _meaning(code: str) -> str:
    """Return the first line of what the code's own type says of it, if it has one."""
    lines = (getattr(SpeechError.codes().get(code), "__doc__", None) or "").splitlines()
    return f": {lines[0]}" if lines else ""
