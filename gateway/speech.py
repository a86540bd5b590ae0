"""POST /tts: text in, audio out."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from antiphon.errors import AudioTooLarge
from antiphon.request import AUDIO_MS, ID, NODE, SYNTHESIS_MS, TRACEPARENT
from antiphon.utterance import Utterance
from gateway.bodies import Asked, parse_body, read_body
from gateway.config import GatewaySettings
from gateway.link import Link

MODEL: Final = "Tts-Model"
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Speech:
    """Turns one HTTP request into one utterance."""

    link: Link
    settings: GatewaySettings

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer with the audio: whole, in JSON, or streamed, as asked."""
        settings = self.settings
        body = await read_body(request, max_bytes=settings.max_body_bytes, within_s=settings.body_timeout_s)
        asked = parse_body(
            body, request.headers.get("Content-Type"), max_characters=settings.max_text_characters
        )
        in_json = prefers_json(request.headers.get("Accept", ""))
        async with self.link.client.utterance(
            asked.speech,
            model=asked.model,
            timeout_s=settings.timeout_s,
            wait_s=settings.wait_s,
            hold_bytes=0 if asked.stream and not in_json else settings.hold_bytes,
            traceparent=_traceparent(request),
        ) as utterance:
            if in_json:
                return await _in_json(asked, utterance, settings.hold_bytes)
            if utterance.end is None or asked.stream:
                return await _streamed(request, asked, utterance)
            return await _whole(asked, utterance)


def prefers_json(accept: str) -> bool:
    """Tell whether an Accept header ranks application/json above audio.

    Libraries that always send `application/json, */*` rank them alike, and get audio.
    """
    if "json" not in accept.lower():
        return False
    quality = {"application/json": 0.0, "audio/*": 0.0}
    for item in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in item.split(";"))
        q = next((_number(p[2:]) for p in parameters if p.startswith("q=")), 1.0)
        if kind in ("application/json", "application/*", "*/*"):
            quality["application/json"] = max(quality["application/json"], q)
        if kind.startswith("audio/") or kind == "*/*":
            quality["audio/*"] = max(quality["audio/*"], q)
    return quality["application/json"] > quality["audio/*"]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _traceparent(request: web.Request) -> str | None:
    given = request.headers.get(TRACEPARENT, "")
    return given if _TRACEPARENT.fullmatch(given) else None


def _headers(utterance: Utterance) -> dict[str, str]:
    headers = {ID: utterance.id, NODE: utterance.node, MODEL: utterance.model}
    if utterance.end is not None:
        headers[AUDIO_MS] = str(utterance.end.audio_ms)
        headers[SYNTHESIS_MS] = str(utterance.end.synthesis_ms)
    return headers


async def _whole(asked: Asked, utterance: Utterance) -> web.Response:
    audio = b"".join([chunk async for chunk in utterance])
    return web.Response(body=audio, content_type=asked.speech.content_type, headers=_headers(utterance))


async def _in_json(asked: Asked, utterance: Utterance, hold_bytes: int) -> web.Response:
    if utterance.end is None:
        raise AudioTooLarge(
            f"the audio passes {hold_bytes} bytes; ask for it without Accept: application/json"
        )
    audio = b"".join([chunk async for chunk in utterance])
    values = {
        "audio_data": base64.b64encode(audio).decode(),
        "format": asked.speech.format,
        "content_type": asked.speech.content_type,
        "audio_ms": utterance.end.audio_ms,
        "model": utterance.model,
        "node": utterance.node,
        "id": utterance.id,
    }
    return web.json_response(values, headers=_headers(utterance))


async def _streamed(request: web.Request, asked: Asked, utterance: Utterance) -> web.StreamResponse:
    """Send audio as it comes. A failure is raised, and the middleware then breaks the connection."""
    response = web.StreamResponse(headers=_headers(utterance))
    response.content_type = asked.speech.content_type
    await response.prepare(request)
    async for chunk in utterance:
        await response.write(chunk)
    await response.write_eof()
    return response
