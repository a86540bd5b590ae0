"""POST /tts: text in, audio out."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from antiphon.utterance import Utterance
from gateway import captions
from gateway.bodies import Asked, parse_body, read_body
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.streaming import headers_of, streamed, traceparent_of


@dataclass(frozen=True, slots=True)
class Speech:
    """Turns one HTTP request into one utterance."""

    link: Link
    settings: GatewaySettings

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer with the audio: whole, in JSON, streamed, or with its words, as asked."""
        settings = self.settings
        body = await read_body(request, max_bytes=settings.max_body_bytes, within_s=settings.body_timeout_s)
        asked = parse_body(
            body, request.headers.get("Content-Type"), max_characters=settings.max_text_characters
        )
        speech = asked.speech
        in_json = not asked.stream if speech.timestamps else prefers_json(request.headers.get("Accept", ""))
        streams = asked.stream and not in_json
        async with self.link.client.utterance(
            speech,
            model=asked.model,
            timeout_s=settings.stream_timeout_s if streams else settings.timeout_s,
            wait_s=settings.wait_s,
            hold_bytes=0 if streams else settings.hold_bytes,
            traceparent=traceparent_of(request),
        ) as utterance:
            if in_json:
                return await captions.in_json(speech, utterance, hold_bytes=settings.hold_bytes)
            if speech.timestamps:
                return await captions.as_events(request, speech, utterance)
            if utterance.end is None or asked.stream:
                return await streamed(request, utterance, speech.content_type)
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


async def _whole(asked: Asked, utterance: Utterance) -> web.Response:
    audio = b"".join([chunk async for chunk in utterance])
    return web.Response(body=audio, content_type=asked.speech.content_type, headers=headers_of(utterance))
