"""GET /openapi.json: the whole gateway as OpenAPI 3.1 describes it. Source: https://spec.openapis.org/oas/v3.1.1."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiohttp import web

from antiphon import __version__
from antiphon.errors import Draining, InvalidRequest, NoNodes, NotConnected
from antiphon.request import AUDIO_MS, CONTENT_TYPES, ID, NODE, SYNTHESIS_MS, TRACEPARENT
from gateway.http_errors import HTTP_CODES, REQUEST_ID_HEADER
from gateway.keys import KEY_PROTOCOL
from gateway.openai import MODEL_NOT_FOUND
from gateway.openapi_replies import HEADERS, NO_KEY, OF_A_BODY, OF_SPEECH, error, errors, json_reply, reply
from gateway.openapi_schemas import (
    BOOLEAN,
    FORMAT,
    MODEL,
    SAMPLE_RATE,
    SPEED,
    STRING,
    VOICE,
    Json,
    ref,
    required,
    schemas,
)
from gateway.streaming import MODEL as MODEL_HEADER
from gateway.voice_messages import PCM_SAMPLE_RATE, Options

_AUDIO: Final[Json] = {content_type: {} for content_type in CONTENT_TYPES.values()}
_KEY: Final = "key"
_TOKENS: Final[Json] = {
    "type": "string",
    "pattern": r"^[-!#$%&'*+.^_`|~0-9A-Za-z]+(, *[-!#$%&'*+.^_`|~0-9A-Za-z]+)*$",
}
_OF_STREAMS: Final = (ID, NODE, MODEL_HEADER)


class OpenApi:
    """Serves the description, made once."""

    def __init__(self, *, max_characters: int, wants_key: bool) -> None:
        self._body = json.dumps(describe(max_characters=max_characters, wants_key=wants_key)).encode()

    async def get(self, _request: web.Request) -> web.Response:
        """The description; whoever writes a client needs no key for it."""
        return web.Response(body=self._body, content_type="application/json")


def describe(*, max_characters: int, wants_key: bool) -> Json:
    """Return the OpenAPI document. max_characters: of one text. wants_key: what speaks wants an API key."""
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Antiphon",
            "version": __version__,
            "summary": "Text in, speech out",
            "description": f"Every reply has an {REQUEST_ID_HEADER}; every error has one shape.",
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "paths": {path: _path_item(path, item) for path, item in _paths(wants_key=wants_key).items()},
        "components": {
            "schemas": schemas(max_characters),
            "headers": HEADERS,
            "responses": {
                "NotFound": error(404, [HTTP_CODES[404]]),
                "MethodNotAllowed": error(405, [HTTP_CODES[405]]),
            },
            "securitySchemes": {
                _KEY: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of the gateway's API keys. Without any, everyone may speak.",
                }
            },
        },
    }


def _path_item(path: str, operations: Mapping[str, Json]) -> Json:
    """Return the operations with what every path has: OPTIONS, and HEAD beside a GET that is no WebSocket."""
    item: Json = dict(operations)
    if "get" in item and "101" not in item["get"]["responses"]:
        item["head"] = _without_bodies(item["get"])
    item["options"] = {
        "summary": "The methods of this path, and what a browser asks before it uses one",
        "responses": {"204": reply("No content", headers=["Allow"]), **errors([])},
    }
    names = [REQUEST_ID_HEADER, TRACEPARENT]
    headers = [_parameter(name, "header", STRING, description=_OF_REQUESTS[name]) for name in names]
    placed = [_parameter("id", "path", STRING, needed=True)] if "{id}" in path else []
    return {**item, "parameters": [*placed, *headers]}


_OF_REQUESTS: Final = {
    REQUEST_ID_HEADER: "Kept for logs and the reply if it is 1 to 128 letters, digits or ._:/+=@-",
    TRACEPARENT: "W3C Trace Context; passed on to the node.",
}


def _without_bodies(operation: Json) -> Json:
    responses = operation["responses"].items()
    bare = {status: {k: v for k, v in made.items() if k != "content"} for status, made in responses}
    return {**operation, "operationId": f"{operation['operationId']}Head", "responses": bare}


def _paths(*, wants_key: bool) -> dict[str, dict[str, Json]]:
    security: list[Json] = [{_KEY: []}] if wants_key else [{}, {_KEY: []}]
    speaks: Json = {"tags": ["speech"], "security": security}
    return {
        "/tts": {"post": {**_tts(), **speaks}},
        "/v1/audio/speech": {"post": {**_openai_speech(), **speaks}},
        "/v1/audio/stream": {"get": {**_voice_stream(), **speaks}},
        "/v1/models": {"get": _lists("listModels", "The models", "Models")},
        "/v1/models/{id}": {
            "get": _lists("retrieveModel", "One model or alias", "Model", codes=[MODEL_NOT_FOUND])
        },
        "/v1/audio/models": {"get": _lists("listAudioModels", "The same models", "AudioModels")},
        "/v1/audio/voices": {"get": _voices()},
        "/check_tts_status": {
            "get": _tells(
                "status", "Who can speak, and how busy they are", "Status", codes=[NotConnected.code]
            )
        },
        "/count": {"get": _count()},
        "/health": {"get": _tells("health", "The process runs", "Health")},
        "/healthz": {"get": _tells("healthz", "The process runs", "Health")},
        "/readyz": {
            "get": _tells(
                "readyz", "Somebody can speak now", "Health", codes=[NotConnected.code, NoNodes.code]
            )
        },
        "/openapi.json": {"get": _itself()},
    }


def _tts() -> Json:
    content = {**_AUDIO, "application/json": {"schema": ref("SpeechInJson")}, **_events("SpeechEvent")}
    told = "The audio; in JSON if Accept prefers it or with timestamps; as events with timestamps and stream"
    return {
        "operationId": "speak",
        "summary": "Speak a text",
        "requestBody": _body("Speech", {"text/plain": {"schema": ref("Text")}}),
        "responses": {
            "200": reply(told, content, headers=[*_OF_STREAMS, AUDIO_MS, SYNTHESIS_MS]),
            **errors([*OF_SPEECH, *OF_A_BODY, NO_KEY]),
        },
    }


def _openai_speech() -> Json:
    content = {**_AUDIO, **_events("OpenAISpeechEvent")}
    return {
        "operationId": "createSpeech",
        "summary": "Speak a text, as OpenAI's speech API does",
        "requestBody": _body("OpenAISpeech"),
        "responses": {
            "200": reply("The audio; as events with stream_format sse", content, headers=_OF_STREAMS),
            **errors([*OF_SPEECH, *OF_A_BODY, NO_KEY]),
        },
    }


def _events(schema: str) -> Json:
    """Return a body of server-sent events; the schema is that of each event, as is usual before 3.2."""
    data = {**STRING, "contentMediaType": "application/json", "contentSchema": ref(schema)}
    return {"text/event-stream": {"schema": {**required(data=data), "description": "Each of the events."}}}


def _body(schema: str, others: Mapping[str, Any] | None = None) -> Json:
    content = {"application/json": {"schema": ref(schema)}, **(others or {})}
    return {"required": True, "content": content}


def _voice_stream() -> Json:
    pcm_rate = f"{SAMPLE_RATE['description']} Of pcm {PCM_SAMPLE_RATE}."
    kinds = {
        "voice": VOICE,
        "model": MODEL,
        "speed": SPEED,
        "format": {**FORMAT, "default": Options().format},
        "sample_rate": {**SAMPLE_RATE, "description": pcm_rate},
        "timestamps": {**BOOLEAN, "default": False, "description": "Tell when each word is heard."},
    }
    protocol = f"In a browser, {KEY_PROTOCOL}<key>, and one more of any name."
    codes = [InvalidRequest.code, NO_KEY, HTTP_CODES[403], HTTP_CODES[426], Draining.code, NotConnected.code]
    return {
        "operationId": "streamSpeech",
        "summary": "Open a WebSocket that speaks a text while it is being written",
        "parameters": [
            *(_parameter(name, "query", schema) for name, schema in kinds.items()),
            _parameter("Sec-WebSocket-Protocol", "header", _TOKENS, description=protocol),
        ],
        "responses": {"101": reply("Switching to the WebSocket protocol, RFC 6455"), **errors(codes)},
    }


def _voices() -> Json:
    codes = [NotConnected.code, NoNodes.code]
    of = _parameter("model", "query", STRING, description="Without it those of all models.")
    return {
        **_lists("listVoices", "The voices, and their aliases", "Voices", codes=codes),
        "parameters": [of],
    }


def _count() -> Json:
    number = {"text/plain": {"schema": {"type": "string", "pattern": "^[0-9]+$"}}}
    return {
        "operationId": "count",
        "tags": ["status"],
        "summary": "The number of requests that wait for a slot",
        "responses": {"200": reply("The number", number), **errors([NotConnected.code])},
    }


def _itself() -> Json:
    content = {"application/json": {"schema": {"type": "object"}}}
    return {
        "operationId": "openapi",
        "tags": ["status"],
        "summary": "This description",
        "responses": {"200": reply("OpenAPI 3.1", content), **errors([])},
    }


def _lists(id: str, summary: str, schema: str, *, codes: Iterable[str] = ()) -> Json:
    return {**_tells(id, summary, schema, codes=codes), "tags": ["lists"]}


def _tells(id: str, summary: str, schema: str, *, codes: Iterable[str] = ()) -> Json:
    return {
        "operationId": id,
        "tags": ["status"],
        "summary": summary,
        "responses": {"200": json_reply(summary, schema), **errors(codes)},
    }


def _parameter(name: str, place: str, schema: Json, *, needed: bool = False, description: str = "") -> Json:
    made: Json = {"name": name, "in": place, "schema": schema}
    if needed:
        made["required"] = True
    return {**made, "description": description} if description else made
