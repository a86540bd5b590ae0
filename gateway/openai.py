"""What clients of OpenAI's speech API ask: POST /v1/audio/speech, and the lists of models and voices."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import Any, Final

import structlog
from aiohttp import web

from antiphon.errors import NotConnected, SpeechError
from antiphon.heartbeat import Voice, VoiceList
from antiphon.utterance import Utterance
from gateway.aliases import VoiceAliases, other_names
from gateway.bodies import read_body
from gateway.config import GatewaySettings
from gateway.http_errors import http_error_response, request_id, speech_error_values
from gateway.link import Link
from gateway.names import Names
from gateway.openai_bodies import AskedSpeech, in_openai_terms, parse_speech
from gateway.streaming import event_stream, send_event, streamed, traceparent_of

OWNER: Final = "antiphon"
MODEL_NOT_FOUND: Final = "model_not_found"
"""Code of the one error that only these paths have; its status is 404."""
MS_PER_TOKEN: Final = 50
"""Audio that counts as one token of output, as it does at OpenAI."""
_LIST_S: Final = 1.0
"""Bound on asking for a list of voices: some clients wait for two seconds in all."""
_FRESH: Final = {"Cache-Control": "no-store"}
_log: Final = structlog.get_logger(__name__)


class OpenAI:
    """Speaks to those who believe that we are OpenAI."""

    def __init__(self, link: Link, settings: GatewaySettings) -> None:
        self._link = link
        self._settings = settings
        self._names = Names(settings)
        self._created = int(time.time())

    async def speech(self, request: web.Request) -> web.StreamResponse:
        """Send audio, or events, as they are made; the status waits for the first of them."""
        settings = self._settings
        body = await read_body(request, max_bytes=settings.max_body_bytes, within_s=settings.body_timeout_s)
        with in_openai_terms():
            content_type = request.headers.get("Content-Type")
            asked = parse_speech(body, content_type, max_characters=settings.max_text_characters)
            return await self._speak(request, asked)

    async def _speak(self, request: web.Request, asked: AskedSpeech) -> web.StreamResponse:
        settings, client, loop = self._settings, self._link.client, asyncio.get_running_loop()
        deadline = loop.time() + settings.stream_timeout_s
        within_s = min(settings.wait_s, settings.stream_timeout_s)
        named = await self._names.model(client, asked.model, any_name=True)
        model, voice = await self._names.meant(client, named, asked.speech.voice, within_s=within_s)
        speech = replace(asked.speech, voice=voice)
        async with client.utterance(
            speech,
            model=model,
            timeout_s=deadline - loop.time(),
            wait_s=settings.wait_s,
            traceparent=traceparent_of(request),
        ) as utterance:
            if asked.sse:
                return await _events(request, utterance, n_characters=len(speech.text))
            return await streamed(request, utterance, speech.content_type)

    async def models(self, _request: web.Request) -> web.Response:
        """The models that live, and the aliases."""
        data = [_model_values(id, created) for id, created in self._listed_models().items()]
        return web.json_response({"object": "list", "data": data}, headers=_FRESH)

    async def model(self, request: web.Request) -> web.Response:
        """One of them."""
        id = request.match_info["id"]
        created = self._listed_models().get(id)
        if created is None:
            message = f"there is no model {id[:80]!r} now"
            return http_error_response(404, message, code=MODEL_NOT_FOUND, param="model")
        return web.json_response(_model_values(id, created), headers=_FRESH)

    async def audio_models(self, _request: web.Request) -> web.Response:
        """The same models, as other servers list them."""
        return web.json_response({"models": [{"id": id} for id in self._listed_models()]}, headers=_FRESH)

    async def audio_voices(self, request: web.Request) -> web.Response:
        """The voices of ?model= or of all models, and their aliases; `missing` are models that told none."""
        client = self._link.client
        lists: Mapping[str, VoiceList | None]
        usual = await self._names.model(client, request.query.get("model"), any_name=True)
        if usual is not None:
            lists = {usual: await client.voice_list(usual, within_s=_LIST_S)}
        else:
            lists = await client.voice_lists(within_s=_LIST_S)
            usual = client.default_model or (next(iter(lists)) if len(lists) == 1 else None)
        voices = [
            values
            for model, listed in lists.items()
            if listed is not None
            for values in _voices(model, listed, self._names.voices, openai=model == usual)
        ]
        missing = [model for model, listed in lists.items() if listed is None]
        return web.json_response({"voices": voices, "missing": missing}, headers=_FRESH)

    def _listed_models(self) -> dict[str, int]:
        """Return each name of a model with the time it began, in Unix seconds."""
        models: dict[str, int] = {}
        try:
            nodes = self._link.client.cluster.nodes(asyncio.get_running_loop().time())
        except NotConnected:
            nodes = []
        for beat in (seen.heartbeat for seen in nodes):
            models[beat.model] = min(int(beat.boot), models.get(beat.model, int(beat.boot)))
        return {**{alias: self._created for alias in self._names.models}, **dict(sorted(models.items()))}


def _voices(
    model: str, listed: VoiceList, configured: VoiceAliases, *, openai: bool
) -> Iterator[dict[str, str]]:
    """Yield the voices of a model, then every alias of them, each once."""
    aliases = other_names(model, listed, configured, openai=openai)
    known = {voice.id: voice for voice in listed.voices}
    for voice in known.values():
        if voice.id not in aliases:
            yield {"id": voice.id, "name": voice.name or voice.id, "language": voice.language, "model": model}
    for alias, id in aliases.items():
        voice = known.get(id, Voice(id))
        yield {
            "id": alias,
            "name": f"{alias} ({voice.name or id})",
            "language": voice.language,
            "model": model,
        }


def _model_values(id: str, created: int) -> dict[str, Any]:
    return {"id": id, "object": "model", "created": created, "owned_by": OWNER}


async def _events(request: web.Request, utterance: Utterance, *, n_characters: int) -> web.StreamResponse:
    """Send the audio as server-sent events; a failure is the last one, and `speech.audio.done` is missing."""
    response = await event_stream(request, utterance)
    try:
        with in_openai_terms():
            async for chunk in utterance:
                audio = base64.b64encode(chunk).decode()
                await send_event(response, {"type": "speech.audio.delta", "audio": audio})
        usage = _usage(n_characters, utterance.end.audio_ms if utterance.end else 0)
        await send_event(response, {"type": "speech.audio.done", "usage": usage})
    except SpeechError as exc:
        _log.warning("request failed", code=exc.code, request_id=request_id(request))
        await send_event(response, {"type": "error", "error": speech_error_values(exc)})
    await response.write_eof()
    return response


def _usage(n_characters: int, audio_ms: int) -> dict[str, int]:
    """Return what OpenAI would count: we have no tokens, but characters and the length of the audio."""
    n_audio = ceil(audio_ms / MS_PER_TOKEN)
    return {
        "input_tokens": n_characters,
        "output_tokens": n_audio,
        "total_tokens": n_characters + n_audio,
    }
