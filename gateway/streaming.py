"""What the routes that speak have in common: the headers of a reply, and audio sent as it is made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from antiphon.request import AUDIO_MS, ID, NODE, SYNTHESIS_MS, TRACEPARENT
from antiphon.utterance import Utterance

MODEL: Final = "Tts-Model"
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(request: web.Request) -> str | None:
    """Return the request's W3C trace context, None if it has none or a malformed one."""
    given = request.headers.get(TRACEPARENT, "")
    return given if _TRACEPARENT.fullmatch(given) else None


def headers_of(utterance: Utterance) -> dict[str, str]:
    """Return who spoke, and how long it took if that is known by now."""
    headers = {ID: utterance.id, NODE: utterance.node, MODEL: utterance.model}
    if utterance.end is not None:
        headers[AUDIO_MS] = str(utterance.end.audio_ms)
        headers[SYNTHESIS_MS] = str(utterance.end.synthesis_ms)
    return headers


async def streamed(request: web.Request, utterance: Utterance, content_type: str) -> web.StreamResponse:
    """Send audio as it comes. A failure is raised, and the middleware then breaks the connection."""
    response = web.StreamResponse(headers=headers_of(utterance))
    response.content_type = content_type
    await response.prepare(request)
    async for chunk in utterance:
        await response.write(chunk)
    await response.write_eof()
    return response


async def event_stream(request: web.Request, utterance: Utterance) -> web.StreamResponse:
    """Begin a reply of server-sent events."""
    response = web.StreamResponse(headers={**headers_of(utterance), "Cache-Control": "no-cache"})
    response.content_type = "text/event-stream"
    await response.prepare(request)
    return response


async def send_event(response: web.StreamResponse, event: Mapping[str, object]) -> None:
    """Send one event, a line of JSON."""
    await response.write(f"data: {json.dumps(event)}\n\n".encode())
