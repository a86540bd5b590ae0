"""POST /tts with timestamps: the audio and when its words are heard, as JSON or as server-sent events."""

from __future__ import annotations

import base64
from typing import Any

import structlog
from aiohttp import web

from antiphon.errors import AudioTooLarge, SpeechError
from antiphon.events import Segment, Words
from antiphon.request import SpeechRequest
from antiphon.utterance import Utterance
from gateway.http_errors import request_id, speech_error_values
from gateway.streaming import event_stream, headers_of, send_event

_log = structlog.get_logger()


async def in_json(speech: SpeechRequest, utterance: Utterance, *, hold_bytes: int) -> web.Response:
    """Answer with the whole audio in JSON, and with the words if they were asked for.

    Raises:
        AudioTooLarge: there is more than `hold_bytes` of it.
    """
    if utterance.end is None:
        instead = "with stream: true" if speech.timestamps else "without Accept: application/json"
        raise AudioTooLarge(f"the audio passes {hold_bytes} bytes; ask for it {instead}")
    audio, words = bytearray(), []
    async for event in utterance.events():
        if isinstance(event, bytes):
            audio += event
        elif isinstance(event, Words):
            words += word_values(speech.text, event)
    values = {
        "audio_data": base64.b64encode(audio).decode(),
        "format": speech.format,
        "content_type": speech.content_type,
        "audio_ms": utterance.end.audio_ms,
        "model": utterance.model,
        "node": utterance.node,
        "id": utterance.id,
        **({"words": words} if speech.timestamps else {}),
    }
    return web.json_response(values, headers=headers_of(utterance))


async def as_events(request: web.Request, speech: SpeechRequest, utterance: Utterance) -> web.StreamResponse:
    """Send audio, segments and words as they come; a failure is the last event, and `done` is missing."""
    response = await event_stream(request, utterance)
    try:
        async for event in utterance.events():
            await send_event(response, _values(speech.text, event))
        await send_event(
            response, {"type": "done", "audio_ms": utterance.end.audio_ms if utterance.end else 0}
        )
    except SpeechError as exc:
        _log.warning("request failed", code=exc.code, request_id=request_id(request))
        await send_event(response, {"type": "error", "error": speech_error_values(exc)})
    await response.write_eof()
    return response


def _values(text: str, event: bytes | Segment | Words) -> dict[str, Any]:
    match event:
        case Segment(index, n_segments, offset, length):
            place = {"index": index, "n_segments": n_segments, "offset": offset, "length": length}
            return {"type": "segment", **place}
        case Words():
            return {"type": "words", "words": word_values(text, event)}
        case audio:
            return {"type": "audio", "audio": base64.b64encode(audio).decode()}


def word_values(text: str, words: Words) -> list[dict[str, Any]]:
    """Return the words as they are sent, each with what stands there in `text`."""
    return [
        {
            "word": text[word.offset : word.offset + word.length],
            "offset": word.offset,
            "length": word.length,
            "start_ms": word.start_ms,
            "end_ms": word.end_ms,
        }
        for word in words.words
    ]
