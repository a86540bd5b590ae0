from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest, NothingToSpeak, SpeechError, TextTooLong
from gateway.openai_bodies import AskedSpeech, in_openai_terms, parse_speech

JSON = "application/json"
KEYS = ("model", "input", "voice", "response_format", "speed", "stream_format", "instructions")


def parsed(body: bytes, content_type: str | None = JSON) -> AskedSpeech:
    return parse_speech(body, content_type, max_characters=100)


def test_everything_is_read() -> None:
    values = {
        **{"model": "tts-1", "input": "hello", "voice": "alloy", "response_format": "pcm"},
        **{"speed": 2, "stream_format": "sse"},
    }
    asked = parsed(json.dumps(values).encode())
    assert (asked.model, asked.sse) == ("tts-1", True)
    speech = asked.speech
    assert (speech.text, speech.voice, speech.speed) == ("hello", "alloy", 2)
    assert (speech.format, speech.sample_rate) == ("pcm", 24_000)


@pytest.mark.parametrize("content_type", [None, "", "Application/JSON ; charset=utf-8"])
def test_json_may_be_meant_without_being_named(content_type: str | None) -> None:
    assert parsed(b'{"input": "hi"}', content_type).speech.text == "hi"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "x"])
def test_another_type_is_refused(content_type: str) -> None:
    with pytest.raises(web.HTTPUnsupportedMediaType):
        parsed(b'{"input": "hi"}', content_type)


def test_fields_are_called_as_the_client_calls_them() -> None:
    for ours, theirs in [("text", "input"), ("format", "response_format"), ("voice", "voice"), (None, None)]:
        with pytest.raises(SpeechError) as caught, in_openai_terms():
            raise SpeechError("no", param=ours)
        assert caught.value.param == theirs


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=150)
_values = (
    _scalars
    | st.lists(_scalars, max_size=3)
    | st.dictionaries(st.sampled_from(["id", "x"]), _scalars, max_size=2)
)


def is_request_or_typed_error(body: bytes) -> bool:
    try:
        return bool(parsed(body).speech.text)
    except SpeechError as exc:
        return isinstance(exc, InvalidRequest | NothingToSpeak | TextTooLong) and exc.param in (None, *KEYS)


@given(st.dictionaries(st.sampled_from(KEYS), _values, max_size=5))
def test_any_json_is_a_request_or_an_error_that_names_a_key_of_theirs(values: dict[str, Any]) -> None:
    assert is_request_or_typed_error(json.dumps(values).encode())
    assert is_request_or_typed_error(json.dumps({"input": "hi", **values}).encode())


@given(st.binary())
def test_any_bytes_are_a_request_or_a_typed_error(body: bytes) -> None:
    assert is_request_or_typed_error(body)
