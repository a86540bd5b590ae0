"""Every error as HTTP: the one table of statuses, the one JSON shape, the middleware that applies them."""

from __future__ import annotations

import json
import random
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import structlog
from aiohttp import WSCloseCode, web

from antiphon.errors import (
    SpeechError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

REQUEST_ID_HEADER: Final = "X-Request-Id"
SERVER: Final = "antiphon"
_REQUEST_ID: Final = web.RequestKey("request_id", str)
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_log: Final = structlog.get_logger(__name__)

STATUS: Final[Mapping[type[SpeechError], HTTPStatus]] = {
    error: HTTPStatus(error.number) for error in SpeechError.codes().values()
}
"""Speech failures, as the errors themselves say."""

HTTP_CODES: Final[Mapping[int, str]] = {
    400: "malformed_http",
    401: "invalid_api_key",
    403: "origin_not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    408: "body_timeout",
    413: "body_too_large",
    415: "unsupported_media_type",
    426: "upgrade_required",
    431: "head_too_large",
    500: "internal",
    503: "too_many_connections",
}
"""Failures of HTTP itself, before any speech: status to code."""


def status_of(error: SpeechError) -> HTTPStatus:
    """Return the status of the nearest class of `error` that has one."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def close_code_of(error: SpeechError) -> int:
    """Return the WebSocket close code that says the same; RFC 6455, 7.4.1, and the registry beside it."""
    if error.retryable:
        return WSCloseCode.TRY_AGAIN_LATER
    return WSCloseCode.POLICY_VIOLATION if status_of(error) < 500 else WSCloseCode.INTERNAL_ERROR


def error_body(status: int, code: str, message: str, param: str | None = None) -> bytes:
    """Return the one JSON shape of every error."""
    return json.dumps({"error": _error_values(status, code, message, param)}).encode()


def speech_error_values(error: SpeechError) -> dict[str, Any]:
    """Return the inside of that shape, for where there are no headers: with `retry_after_s` if known."""
    values = _error_values(status_of(error), error.code, str(error) or error.code, error.param)
    after_s = error.retry_after_s
    return values if after_s is None else {**values, "retry_after_s": round(after_s, 3)}


def _error_values(status: int, code: str, message: str, param: str | None) -> dict[str, Any]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"message": message, "type": kind, "param": param, "code": code}


def retry_headers(status: int, *, retryable: bool, after_s: float | None = None) -> dict[str, str]:
    """Return what tells a client when, or that never, to come again.

    after_s: forecast in seconds; None is one second, the shortest that Retry-After can say.
    """
    if status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
        wait_s = 1.0 if after_s is None else max(after_s, 0.001)
        return {"Retry-After": str(max(1, ceil(wait_s))), "Retry-After-Ms": str(ceil(wait_s * 1000))}
    # The OpenAI libraries repeat every 5xx unless they are told not to.
    return {} if retryable or status < 500 else {"X-Should-Retry": "false"}


def http_error_response(
    status: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    *,
    code: str | None = None,
    param: str | None = None,
) -> web.Response:
    """Return the reply to a failure of HTTP itself; `message` is for people. code: None is the status's."""
    code = code or HTTP_CODES.get(status, f"http_{status}")
    return web.Response(
        status=status,
        body=error_body(status, code, message, param),
        headers={**(headers or {}), **retry_headers(status, retryable=False)},
        content_type="application/json",
    )


def speech_error_response(error: SpeechError) -> web.Response:
    """Return the reply to a speech failure."""
    status = status_of(error)
    return web.Response(
        status=status,
        body=error_body(status, error.code, str(error) or error.code, error.param),
        headers=retry_headers(status, retryable=error.retryable, after_s=error.retry_after_s),
        content_type="application/json",
    )


def request_id(request: web.Request) -> str:
    """Return the client's X-Request-Id if it is fit for a log, else one made up."""
    known = request.get(_REQUEST_ID)
    if known is None:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        known = request[_REQUEST_ID] = given if _SANE_ID.fullmatch(given) else new_request_id()
    return known


def new_request_id() -> str:
    """Return 32 hexadecimal digits: unique, not secret."""
    return f"{random.getrandbits(128):032x}"


async def sign_reply(request: web.Request, response: web.StreamResponse) -> None:
    """Give every reply its X-Request-Id, and no word about versions."""
    response.headers[REQUEST_ID_HEADER] = request_id(request)
    response.headers["Server"] = SERVER


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer what a handler raises; once a reply has begun, a failure can only break the connection."""
    try:
        return await handler(request)
    except SpeechError as exc:
        response = speech_error_response(exc)
        if has_begun(request) or (response.status >= 500 and not exc.retryable):
            _log.warning("request failed", code=exc.code, request_id=request_id(request))
    except web.HTTPException as exc:
        response = _translated(request, exc)
    except web.RequestPayloadError:
        response = http_error_response(400, "the body breaks the rules of HTTP: wrong length or coding")
        response.force_close()
    except ConnectionError:
        raise  # the client is gone
    except Exception:
        _log.exception("unexpected error", path=request.path, request_id=request_id(request))
        response = http_error_response(500, "unexpected error; the log of the gateway has it")
    if has_begun(request):
        break_connection(request)
        raise ConnectionResetError("the reply was broken off")
    return response


def _translated(request: web.Request, exc: web.HTTPException) -> web.Response:
    """Return an aiohttp error in our shape. Texts of our own are kept, aiohttp's are replaced."""
    if isinstance(exc, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(exc.allowed_methods))
        return http_error_response(405, f"use {allowed} here, not {exc.method[:40]}", {"Allow": allowed})
    if isinstance(exc, web.HTTPNotFound):
        speak = "POST /tts and POST /v1/audio/speech speak, GET /check_tts_status tells who can"
        return http_error_response(404, f"no such path: {speak}")
    if isinstance(exc, web.HTTPUnauthorized):
        return http_error_response(401, exc.text or exc.reason, {"WWW-Authenticate": "Bearer"})
    if isinstance(exc, web.HTTPRequestEntityTooLarge):
        limit = request.client_max_size
        return http_error_response(413, f"the body is larger than {limit} bytes")
    response = http_error_response(exc.status, exc.text or exc.reason)
    if exc.status == HTTPStatus.REQUEST_TIMEOUT:
        response.force_close()
    return response


def has_begun(request: web.BaseRequest) -> bool:
    """Tell whether a part of the reply is out already."""
    return request.writer.output_size > 0


def break_connection(request: web.Request) -> None:
    """Reset the connection, so that no client or proxy takes what came for the whole.

    An orderly close would be a complete reply in HTTP/1.0, which has no other mark of the end.
    """
    transport = request.transport
    if transport is None:
        return
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
