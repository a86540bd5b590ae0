"""The body of POST /v1/audio/speech: what it asks for, in our words, and errors in those of OpenAI."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from antiphon.errors import InvalidRequest, SpeechError
from antiphon.request import CONTENT_TYPES, SpeechRequest
from gateway.bodies import check_length, load_object

PCM_RATE: Final = 24_000
"""Hz of the headerless format, which cannot tell its own."""
STREAM_FORMATS: Final = ("audio", "sse")
_EXAMPLE: Final = '{"model": "tts-1", "input": "hello", "voice": "alloy"}'
_THEIR_NAMES: Final = {"text": "input", "format": "response_format", "sample_rate": "response_format"}


@dataclass(frozen=True, slots=True)
class AskedSpeech:
    """What one request asks for; voice and model as the client calls them. sse: send events, not audio."""

    speech: SpeechRequest
    model: str | None = None
    sse: bool = False


@contextmanager
def in_openai_terms() -> Iterator[None]:
    """Have errors name a field as OpenAI does: `input` instead of `text`."""
    try:
        yield
    except SpeechError as exc:
        exc.param = _THEIR_NAMES.get(exc.param or "", exc.param)
        raise


def parse_speech(body: bytes, content_type: str | None, *, max_characters: int) -> AskedSpeech:
    """Read the JSON object; unknown keys are ignored, null is absent. A missing Content-Type is JSON.

    Raises:
        InvalidRequest: the body is not what it should be; `param` names the key at fault.
        NothingToSpeak: nothing in the input can be said.
        TextTooLong: the input has more than `max_characters`.
        web.HTTPUnsupportedMediaType: the body is something else than JSON.
    """
    if (content_type or "application/json").partition(";")[0].strip().lower() != "application/json":
        raise web.HTTPUnsupportedMediaType(text="send application/json")
    values = {key: value for key, value in load_object(body, example=_EXAMPLE).items() if value is not None}
    with in_openai_terms():
        format = _one_of(values, "response_format", "mp3", tuple(CONTENT_TYPES))
        speech = SpeechRequest(
            _string(values, "input"),
            voice=_voice(values.get("voice")),
            speed=values.get("speed", 1.0),
            format=format,
            sample_rate=PCM_RATE if format == "pcm" else None,
        )
        check_length(speech.text, max_characters)
    model = _string(values, "model") if "model" in values else None
    return AskedSpeech(speech, model, sse=_one_of(values, "stream_format", "audio", STREAM_FORMATS) == "sse")


def _string(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        raise InvalidRequest(f"{name} is missing", param=name)
    if not isinstance(values[name], str):
        raise InvalidRequest(f"{name} must be a string", param=name)
    return str(values[name])


def _one_of(values: Mapping[str, Any], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = values.get(name, default)
    if value not in choices:
        raise InvalidRequest(f"{name} must be one of {', '.join(choices)}", param=name)
    return str(value)


def _voice(value: Any) -> str | None:
    """Return the voice's name: of a string, or of an object with an id, as custom voices have."""
    if isinstance(value, dict):
        value = value.get("id", "")
    if value is not None and not isinstance(value, str):
        raise InvalidRequest('voice must be a string or an object such as {"id": "alloy"}', param="voice")
    return value
