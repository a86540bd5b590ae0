"""JSON Schemas of what the gateway takes and gives, made of the code's own limits and names."""

from __future__ import annotations

from typing import Any, Final, get_args

from antiphon.errors import SpeechError
from antiphon.heartbeat import State
from antiphon.request import (
    CONTENT_TYPES,
    INPUT_TYPES,
    MAX_SAMPLE_RATE,
    MAX_SPEED,
    MAX_VOICE_CHARACTERS,
    MIN_SAMPLE_RATE,
    MIN_SPEED,
)
from antiphon.subjects import MAX_TOKEN_CHARACTERS
from gateway.http_errors import HTTP_CODES, status_of
from gateway.openai import MODEL_NOT_FOUND
from gateway.openai_bodies import PCM_RATE, STREAM_FORMATS

Json = dict[str, Any]

STATUS_OF_CODE: Final = {
    **{code: int(status_of(error())) for code, error in SpeechError.codes().items()},
    **{code: status for status, code in HTTP_CODES.items()},
    MODEL_NOT_FOUND: 404,
}
"""Every error code with its status."""
BOOLEAN: Final[Json] = {"type": "boolean"}
STRING: Final[Json] = {"type": "string"}
COUNT: Final[Json] = {"type": "integer", "minimum": 0}
SECONDS: Final[Json] = {"type": "number", "minimum": 0}
FORMAT: Final[Json] = {"enum": list(CONTENT_TYPES), "default": "mp3"}
SPEED: Final[Json] = {
    "type": "number",
    "minimum": MIN_SPEED,
    "maximum": MAX_SPEED,
    "default": 1.0,
    "description": "A factor.",
}
VOICE: Final[Json] = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_VOICE_CHARACTERS,
    "description": "A voice of the model; without it the model's own.",
}
SAMPLE_RATE: Final[Json] = {
    "type": "integer",
    "minimum": MIN_SAMPLE_RATE,
    "maximum": MAX_SAMPLE_RATE,
    "description": "In Hz; a format may have only some. Without it the engine's own.",
}
MODEL: Final[Json] = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]+$",
    "maxLength": MAX_TOKEN_CHARACTERS,
    "description": "The model that speaks; without it the only one that has the voice, or the default.",
}


def ref(name: str) -> Json:
    """Return a reference to one of `schemas`."""
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Json) -> Json:
    """Return a list of `items`."""
    return {"type": "array", "items": items}


def required(**properties: Json) -> Json:
    """Return an object that has all of these; further ones may come with a later version."""
    return {"type": "object", "required": list(properties), "properties": properties}


def schemas(max_characters: int) -> dict[str, Json]:
    """Return every schema by its name. max_characters: the longest text of one request."""
    return {
        "Speech": _speech(max_characters),
        "OpenAISpeech": _openai_speech(max_characters),
        "Text": text(max_characters),
        **_ERRORS,
        **_ANSWERS,
        **_LISTS,
        **_STATUS,
    }


def text(max_characters: int) -> Json:
    """Return what can be spoken."""
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": max_characters,
        "description": "With a letter, a digit or a mark in it: emoji alone are nothing_to_speak.",
    }


def _speech(max_characters: int) -> Json:
    texts = {**array({"type": "string", "maxLength": max_characters}), "minItems": 1}
    texts["description"] = (
        "Spoken one after another, as paragraphs; the longest text is that of all together."
    )
    return _body(
        "text",
        text={"anyOf": [ref("Text"), texts]},
        voice=_or_null(VOICE),
        speed=_or_null(SPEED),
        format=_or_null(FORMAT),
        sample_rate=_or_null(SAMPLE_RATE),
        model=_or_null(MODEL),
        stream=_flag("Send the audio as it is made."),
        input_type=_or_null(
            {
                "enum": list(INPUT_TYPES),
                "default": "text",
                "description": "ssml: the text is a speak element.",
            }
        ),
        timestamps=_flag("Tell when each word is heard."),
        split=_flag("false: speak the text in one go, however long it is.", default=True),
    )


def _openai_speech(max_characters: int) -> Json:
    voice = {"anyOf": [_or_null(VOICE), required(id=VOICE)], "description": "A name, or an object with it."}
    pcm = f"pcm is {PCM_RATE} Hz, 16 bits, little-endian, mono, without a header."
    return _body(
        "input",
        input=ref("Text"),
        model=_or_null({**STRING, "description": "An alias or a model; any other name is as good as none."}),
        voice=voice,
        response_format=_or_null({**FORMAT, "description": pcm}),
        speed=_or_null(SPEED),
        stream_format=_or_null({"enum": list(STREAM_FORMATS), "default": "audio"}),
        instructions={"description": "Accepted, and without effect."},
    )


def _body(*needed: str, **properties: Json) -> Json:
    return {
        "type": "object",
        "description": "Unknown keys are ignored; null is the same as an absent key.",
        "required": list(needed),
        "properties": properties,
        "example": {needed[0]: "hello"},
    }


def _or_null(schema: Json) -> Json:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def _flag(description: str, *, default: bool = False) -> Json:
    return _or_null({**BOOLEAN, "default": default, "description": description})


def _event(type: str, **values: Json) -> Json:
    return required(type={"const": type}, **values)


_BASE64: Final[Json] = {"type": "string", "contentEncoding": "base64"}
_WORDS: Final = array(ref("Word"))
_ERROR_EVENT: Final = _event("error", error=ref("ErrorValues"))

_ERRORS: Final[dict[str, Json]] = {
    "Error": required(error=ref("ErrorValues")),
    "ErrorValues": {
        "type": "object",
        "required": ["message", "type", "param", "code"],
        "properties": {
            "message": {**STRING, "description": "For people; it may change."},
            "type": {"enum": ["invalid_request_error", "server_error"], "description": "4xx or 5xx."},
            "param": {"type": ["string", "null"], "description": "The key at fault."},
            "code": {"enum": list(STATUS_OF_CODE), "description": "Stable."},
            "retry_after_s": {**SECONDS, "description": "A forecast; only where there are no headers."},
        },
    },
}

_ANSWERS: Final[dict[str, Json]] = {
    "SpeechInJson": {
        **required(
            audio_data=_BASE64,
            format={"enum": list(CONTENT_TYPES)},
            content_type={"enum": list(CONTENT_TYPES.values())},
            audio_ms=COUNT,
            model=STRING,
            node=STRING,
            id=STRING,
        ),
        "description": "With `words` if timestamps were asked for.",
    },
    "Word": {
        **required(word=STRING, offset=COUNT, length=COUNT, start_ms=COUNT, end_ms=COUNT),
        "description": "Offset and length in characters of the text; start and end in the audio.",
    },
    "SpeechEvent": {
        "description": "The audio of all events, decoded and joined, is the file. Ends with done or error.",
        "oneOf": [
            _event("segment", index=COUNT, n_segments=COUNT, offset=COUNT, length=COUNT),
            _event("words", words=_WORDS),
            _event("audio", audio=_BASE64),
            _event("done", audio_ms=COUNT),
            _ERROR_EVENT,
        ],
    },
    "OpenAISpeechEvent": {
        "description": "The audio of all deltas, decoded and joined, is the file. Ends with done or error.",
        "oneOf": [
            _event("speech.audio.delta", audio=_BASE64),
            _event(
                "speech.audio.done",
                usage=required(input_tokens=COUNT, output_tokens=COUNT, total_tokens=COUNT),
            ),
            _ERROR_EVENT,
        ],
    },
}
_ANSWERS["SpeechInJson"]["properties"]["words"] = _WORDS

_LISTS: Final[dict[str, Json]] = {
    "Model": required(id=STRING, object={"const": "model"}, created=COUNT, owned_by=STRING),
    "Models": required(object={"const": "list"}, data=array(ref("Model"))),
    "AudioModels": required(models=array(required(id=STRING))),
    "Voices": required(
        voices=array(required(id=STRING, name=STRING, language=STRING, model=STRING)),
        missing={**array(STRING), "description": "Models that did not list their voices in time."},
    ),
}

_OCCUPANCY: Final = {"status": BOOLEAN, "nodes": COUNT, "slots": COUNT, "busy": COUNT, "waiting": COUNT}
_STATUS: Final[dict[str, Json]] = {
    "Occupancy": {**required(**_OCCUPANCY), "description": "status: a slot is free."},
    "Status": required(
        **_OCCUPANCY,
        models={"type": "object", "additionalProperties": ref("Occupancy")},
        workers=array(ref("Worker")),
    ),
    "Worker": required(
        node=STRING,
        name=STRING,
        model=STRING,
        state={"enum": [*get_args(State), "silent"]},
        paused={**STRING, "description": "Why its engine speaks nothing for now; empty when it can."},
        slots=COUNT,
        busy=COUNT,
        idle=COUNT,
        synthesized=COUNT,
        failed=COUNT,
        seconds_per_character=SECONDS,
        real_time_factor=SECONDS,
        version=STRING,
    ),
    "Health": required(status={"enum": ["ok", "ready"]}),
}
