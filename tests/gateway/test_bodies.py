from __future__ import annotations

import json

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest, NothingToSpeak, SpeechError, TextTooLong
from antiphon.request import SpeechRequest
from gateway.bodies import Asked, parse_body

JSON = "application/json"


def parsed(values: object) -> Asked:
    return parse_body(json.dumps(values).encode(), JSON, max_characters=100)


def refused(values: object) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parsed(values)
    return caught.value


def test_all_keys_are_read() -> None:
    values = {"text": "hi", "voice": "en-us", "speed": 2, "format": "wav", "sample_rate": 16000}
    assert parsed({**values, "model": "piper", "stream": True}) == Asked(
        SpeechRequest("hi", "en-us", 2, "wav", 16000), "piper", True
    )


def test_unknown_keys_are_ignored_and_null_is_absent() -> None:
    nulls = {"voice": None, "speed": None, "format": None, "model": None, "stream": None, "sample_rate": None}
    assert parsed({"text": "hi", "later": {"more": 1}, **nulls}) == Asked(SpeechRequest("hi"))


def test_a_list_is_spoken_one_after_another() -> None:
    assert parsed({"text": ["One.", "Two."]}).speech.text == "One.\n\nTwo."


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({}, "text"),
        ({"text": None}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": []}, "text"),
        ({"text": ["", " "]}, "text"),
        ({"text": ["a", 1]}, "text"),
        ({"text": 7}, "text"),
        ({"text": {"text": "a"}}, "text"),
        ({"text": "\ud800"}, "text"),
        ({"text": "a", "voice": "\udfff"}, "voice"),
        ({"text": "a", "voice": 1}, "voice"),
        ({"text": "a", "voice": ""}, "voice"),
        ({"text": "a", "speed": "fast"}, "speed"),
        ({"text": "a", "speed": True}, "speed"),
        ({"text": "a", "speed": 0}, "speed"),
        ({"text": "a", "speed": 10**400}, "speed"),
        ({"text": "a", "speed": float("nan")}, "speed"),
        ({"text": "a", "speed": float("inf")}, "speed"),
        ({"text": "a", "format": "exe"}, "format"),
        ({"text": "a", "format": ["mp3"]}, "format"),
        ({"text": "a", "sample_rate": 1}, "sample_rate"),
        ({"text": "a", "sample_rate": 22050.5}, "sample_rate"),
        ({"text": "a", "model": "a.b"}, "model"),
        ({"text": "a", "model": ">"}, "model"),
        ({"text": "a", "model": ""}, "model"),
        ({"text": "a", "model": ["espeak"]}, "model"),
        ({"text": "a", "stream": "yes"}, "stream"),
        ({"text": "a", "stream": 1}, "stream"),
    ],
)
def test_a_wrong_value_is_named(values: object, param: str) -> None:
    assert refused(values).param == param


@pytest.mark.parametrize("values", [None, 1, "text", ["text"], True])
def test_json_that_is_no_object_is_refused(values: object) -> None:
    assert "JSON object" in str(refused(values))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'text': 'a'}",
        b"\xff\xfe\xff",
        b'{"text": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"text": "a", "speed": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_body(body, JSON, max_characters=100)


def test_text_over_the_limit_is_refused() -> None:
    assert parsed({"text": "x" * 100}).speech.text == "x" * 100
    with pytest.raises(TextTooLong) as caught:
        parsed({"text": ["x" * 50, "x" * 50]})
    assert caught.value.param == "text"


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=utf-8", "TEXT/Plain", None])
def test_plain_text_is_the_text_itself(content_type: str | None) -> None:
    assert parse_body("grüß dich".encode(), content_type, max_characters=100) == Asked(
        SpeechRequest("grüß dich")
    )


def test_plain_text_may_look_like_json() -> None:
    assert parse_body(b'{"text"}', "text/plain", max_characters=100).speech.text == '{"text"}'


def test_without_a_content_type_a_brace_means_json() -> None:
    assert parse_body(b' {"text": "a"}', None, max_characters=100).speech.text == "a"


def test_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        parse_body(b"gr\xfc\xdf", "text/plain", max_characters=100)


@pytest.mark.parametrize(
    "content_type", ["application/xml", "audio/mpeg", "json", "multipart/form-data; boundary=x"]
)
def test_other_media_types_are_refused(content_type: str) -> None:
    with pytest.raises(web.HTTPUnsupportedMediaType):
        parse_body(b'{"text": "a"}', content_type, max_characters=100)


def test_curl_without_a_header_is_told_which_one_to_add() -> None:
    with pytest.raises(web.HTTPUnsupportedMediaType) as caught:
        parse_body(b'{"text": "a"}', "application/x-www-form-urlencoded", max_characters=100)
    assert "-H 'Content-Type: application/json'" in (caught.value.text or "")


_characters = st.characters() | st.sampled_from("\ud800\udfff\0\u2028")
_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(_characters)
_values = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
_keys = st.sampled_from(["text", "voice", "speed", "format", "sample_rate", "model", "stream", "other"])
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def is_request_or_typed_error(body: bytes, content_type: str | None) -> bool:
    try:
        return bool(parse_body(body, content_type, max_characters=100).speech.text.encode())
    except SpeechError as exc:
        return isinstance(exc, InvalidRequest | NothingToSpeak | TextTooLong)


@_patient
@given(st.dictionaries(_keys, _values, max_size=5))
def test_any_json_is_a_request_or_a_typed_error(values: dict[str, object]) -> None:
    assert is_request_or_typed_error(json.dumps({"text": "a", **values}).encode(), JSON)


@_patient
@given(st.binary())
def test_any_bytes_are_a_request_or_a_typed_error(body: bytes) -> None:
    assert all(is_request_or_typed_error(body, kind) for kind in (JSON, "text/plain", None))
