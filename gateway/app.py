"""The routes, wired in one place."""

from __future__ import annotations

from aiohttp import HttpVersion11, hdrs, web

from gateway.config import GatewaySettings
from gateway.cors import Cors, parse_origins
from gateway.http_errors import errors_as_json, sign_reply
from gateway.keys import Keys
from gateway.link import Link
from gateway.openai import OpenAI
from gateway.openapi import OpenApi
from gateway.speech import Speech
from gateway.status import Status
from gateway.voice_stream import VoiceStream


def make_app(link: Link, settings: GatewaySettings) -> web.Application:
    """Return the gateway's application, speaking through `link`."""
    speech, openai, status = Speech(link, settings), OpenAI(link, settings), Status(link)
    accepted = settings.keys()
    keys, cors = Keys(accepted), Cors(parse_origins(settings.cors_origins))
    description = OpenApi(max_characters=settings.max_text_characters, wants_key=bool(accepted))
    app = web.Application(
        middlewares=[errors_as_json, cors.answer_options], client_max_size=settings.max_body_bytes
    )
    app.on_response_prepare.extend([sign_reply, cors.sign])
    route = app.router.add_route
    route(hdrs.METH_POST, "/tts", keys.protect(speech.post), expect_handler=_expect)
    route(hdrs.METH_POST, "/v1/audio/speech", keys.protect(openai.speech), expect_handler=_expect)
    voice_stream = VoiceStream(link, settings)
    app.on_shutdown.append(voice_stream.drain)
    route(hdrs.METH_GET, "/v1/audio/stream", keys.protect(voice_stream.get), expect_handler=_expect)
    for path, handler in {
        "/v1/models": openai.models,
        "/v1/models/{id:(?s:.+)}": openai.model,
        "/v1/audio/models": openai.audio_models,
        "/v1/audio/voices": openai.audio_voices,
        "/check_tts_status": status.check_tts_status,
        "/count": status.count,
        "/health": status.healthz,
        "/healthz": status.healthz,
        "/readyz": status.readyz,
        "/openapi.json": description.get,
    }.items():
        for method in (hdrs.METH_GET, hdrs.METH_HEAD):
            route(method, path, handler, expect_handler=_expect)
    return app


async def _expect(request: web.Request) -> None:
    """Tell a client that waits for it to send its body; RFC 9110, 10.1.1, lets any other expectation pass.

    aiohttp's own handler answers those in plain text, past every middleware.
    """
    if request.version == HttpVersion11 and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # that was no part of the reply
