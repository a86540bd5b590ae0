"""A request's payload and headers: three encodings, strict types, one error."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon.errors import InvalidRequest, NothingToSpeak
from antiphon.request import (
    CONTENT_TYPES,
    DEFAULT_WINDOW_BYTES,
    INPUT_TYPES,
    Envelope,
    Resume,
    SpeechRequest,
    decode_request,
    encode_request,
    is_speakable,
    request_from_map,
)

TEXTS = st.text(min_size=1).filter(is_speakable)
REQUESTS = st.builds(
    SpeechRequest,
    text=TEXTS,
    voice=st.none() | st.text(min_size=1, max_size=100),
    speed=st.floats(0.25, 4.0) | st.integers(1, 4),
    format=st.sampled_from(sorted(CONTENT_TYPES)),
    sample_rate=st.none() | st.integers(8000, 48000),
    input_type=st.sampled_from(INPUT_TYPES),
    timestamps=st.booleans(),
    split=st.booleans(),
    resume=st.none() | st.builds(Resume, st.integers(0, 10**6), st.floats(0, 3600)),
)
ENVELOPES = st.builds(
    Envelope,
    id=st.from_regex("[0-9a-f]{1,32}", fullmatch=True),
    attempt=st.integers(1, 1000),
    budget_s=st.none() | st.integers(0, 10**9).map(lambda ms: ms / 1000),
    stream=st.just(True),
    window=st.integers(1, 2**40),
    traceparent=st.none() | st.just("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
)
DEEP_JSON = b'{"a":' * 100_000
DEEP_MSGPACK = b"\x81\xa1a" * 100_000


def as_map(request: SpeechRequest) -> dict[str, Any]:
    plain = SpeechRequest("a")
    values = {name: getattr(request, name) for name in request.__slots__}
    if request.resume is not None:
        values["resume"] = {"offset": request.resume.offset, "skip_s": request.resume.skip_s}
    always = ("text", "speed", "format")
    return {k: v for k, v in values.items() if k in always or v != getattr(plain, k)}


@given(request_=REQUESTS)
def test_a_request_comes_back_from_each_encoding(request_: SpeechRequest) -> None:
    values = as_map(request_)
    assert decode_request(encode_request(request_)) == request_
    assert decode_request(msgpack.packb(values), "application/msgpack") == request_
    assert decode_request(json.dumps(values).encode(), "application/json") == request_
    assert decode_request(json.dumps(values, ensure_ascii=False).encode()) == request_


@given(text=TEXTS)
def test_plain_text_is_a_request_of_its_own(text: str) -> None:
    assert decode_request(text.encode(), "text/plain; charset=utf-8") == SpeechRequest(text)
    if not text.startswith("{"):
        assert decode_request(text.encode()) == SpeechRequest(text)


@given(data=st.binary(), content_type=st.sampled_from([None, "application/msgpack", "application/json"]))
@example(DEEP_JSON, None)
@example(DEEP_MSGPACK, None)
@example(b"\xdf\xff\xff\xff\xff", "application/msgpack")
@example(b"\x81\x90\x90", None)
@example(b"\x81\xa4text\xd6\xff\x00\x00\x00\x00", None)
@example(b'{"text": "a", "speed": 1' + b"0" * 5000 + b"}", None)
@example(b'{"text": "a", "sample_rate": 1e999}', None)
def test_any_other_bytes_are_an_invalid_request_and_nothing_else(
    data: bytes, content_type: str | None
) -> None:
    with suppress(InvalidRequest, NothingToSpeak):
        assert decode_request(data, content_type).text.strip()


@given(
    values=st.dictionaries(st.sampled_from(SpeechRequest.__slots__), st.from_type(type).flatmap(st.from_type))
)
def test_any_other_values_are_an_invalid_request_and_nothing_else(values: dict[str, object]) -> None:
    with suppress(InvalidRequest, NothingToSpeak):
        request_from_map({"text": "hello", **values})


@pytest.mark.parametrize("text", [".", "?!", "5", "a", "你好", "$", "+", "😀 ok", "ก", "…", "\u0663"])
def test_a_letter_a_digit_or_a_mark_can_be_spoken(text: str) -> None:
    assert SpeechRequest(text).text == text


@pytest.mark.parametrize("text", ["😀", "👩\u200d👩\u200d👧", "❤\ufe0f", "🇩🇪 🇫🇷", "\u200b", "👍🏽\n", "\x01"])
def test_pictures_alone_are_nothing_to_speak(text: str) -> None:
    with pytest.raises(NothingToSpeak) as caught:
        SpeechRequest(text)
    assert caught.value.param == "text"


@pytest.mark.parametrize("resume", [{"offset": -1}, {"offset": True}, {"skip_s": float("nan")}, 5, "x"])
def test_a_resume_that_is_none_is_refused(resume: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request_from_map({"text": "hello", "resume": resume})
    assert caught.value.param == "resume"


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({}, "text"),
        ({"text": None}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n\t"}, "text"),
        ({"text": 5}, "text"),
        ({"text": b"hello"}, "text"),
        ({"text": ["hello"]}, "text"),
        ({"text": "half \ud83d"}, "text"),
        ({"text": "a", "voice": ""}, "voice"),
        ({"text": "a", "voice": 1}, "voice"),
        ({"text": "a", "voice": "\udc00"}, "voice"),
        ({"text": "a", "speed": True}, "speed"),
        ({"text": "a", "speed": "1"}, "speed"),
        ({"text": "a", "speed": 0}, "speed"),
        ({"text": "a", "speed": 0.2499}, "speed"),
        ({"text": "a", "speed": 4.001}, "speed"),
        ({"text": "a", "speed": float("nan")}, "speed"),
        ({"text": "a", "speed": float("inf")}, "speed"),
        ({"text": "a", "speed": 10**400}, "speed"),
        ({"text": "a", "format": "MP3"}, "format"),
        ({"text": "a", "format": "midi"}, "format"),
        ({"text": "a", "format": 3}, "format"),
        ({"text": "a", "format": ["mp3"]}, "format"),
        ({"text": "a", "sample_rate": True}, "sample_rate"),
        ({"text": "a", "sample_rate": 16000.0}, "sample_rate"),
        ({"text": "a", "sample_rate": "16000"}, "sample_rate"),
        ({"text": "a", "sample_rate": 7999}, "sample_rate"),
        ({"text": "a", "sample_rate": 48001}, "sample_rate"),
    ],
)
def test_the_field_at_fault_is_named(values: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request_from_map(values)
    assert refused.value.param == param
    assert param in str(refused.value)


def test_what_a_newer_version_adds_is_ignored() -> None:
    values = {"text": "hello", "emotion": "joy", "voice": None, "speed": None, 7: "seven"}
    assert request_from_map(values) == SpeechRequest("hello")
    assert decode_request(b'{"text": "hello", "emotion": {"a": [1]}}') == SpeechRequest("hello")


@pytest.mark.parametrize(
    ("data", "content_type", "text"),
    [
        (b"hello", None, "hello"),
        ("模型".encode(), None, "模型"),
        (b"{not json", "text/plain", "{not json"),
        (b"[1]", None, "[1]"),
        (b'{"text": "a"}', None, "a"),
        (b' {"text": "a"}', None, ' {"text": "a"}'),
        (b' {"text": "a"}', "application/json", "a"),
        (b'{"text": "a"}', "Application/JSON; charset=utf-8", "a"),
        (b"\x81\xa4text\xa1a", None, "a"),
        (b"\x81\xa4text\xa1a", "application/x-msgpack", "a"),
        (b"\x81\xa4text\xa1a", "application/vnd.msgpack", "a"),
        (b"\xde\x00\x01\xa4text\xa1a", "application/msgpack", "a"),
        (b"hello", "", "hello"),
    ],
)
def test_the_encoding_is_told_by_the_header_or_else_by_the_first_byte(
    data: bytes, content_type: str | None, text: str
) -> None:
    assert decode_request(data, content_type).text == text


@pytest.mark.parametrize(
    ("data", "content_type", "reason"),
    [
        (b"", None, "empty"),
        (b"hello", "application/json", "no JSON"),
        (b"hello", "application/msgpack", "no msgpack|must be a map"),
        (b"hello", "application/xml", "none of"),
        (b"hello", ";", "none of"),
        (b"{", None, "no JSON"),
        (b"[1]", "application/json", "must be a map, not list"),
        (b"null", "application/json", "must be a map, not NoneType"),
        (b"\x80", None, "text is missing"),
        (b"\xff\xfe", None, "not UTF-8"),
        (b'{"text": "\xff"}', None, "not UTF-8"),
        (b"\x81\xa4text\xa1\xff", None, "not UTF-8"),
        (b'{"text": "\\ud83d"}', None, "surrogate"),
        (DEEP_JSON, None, "no JSON"),
        (DEEP_MSGPACK, None, "no msgpack"),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(
    data: bytes, content_type: str | None, reason: str
) -> None:
    with pytest.raises(InvalidRequest, match=reason) as refused:
        decode_request(data, content_type)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("format_", sorted(CONTENT_TYPES))
def test_the_content_type_is_the_formats(format_: str) -> None:
    assert SpeechRequest("a", format=format_).content_type == CONTENT_TYPES[format_]


def test_the_default_is_mp3_at_normal_speed() -> None:
    assert as_map(SpeechRequest("a")) == {"text": "a", "speed": 1.0, "format": "mp3"}
    assert msgpack.unpackb(encode_request(SpeechRequest("a"))) == as_map(SpeechRequest("a"))


@given(envelope=ENVELOPES)
def test_an_envelope_comes_back_from_its_headers(envelope: Envelope) -> None:
    assert Envelope.from_headers(envelope.headers(), default_id="other") == envelope


def test_an_envelope_leaves_defaults_out() -> None:
    assert Envelope("x").headers() == {"Tts-Id": "x"}
    assert Envelope("x", window=5).headers() == {"Tts-Id": "x"}, "only a stream has a window"
    assert Envelope("x", attempt=2, budget_s=0.0004, stream=True, window=5, traceparent="t").headers() == {
        "Tts-Id": "x",
        "Tts-Attempt": "2",
        "Tts-Budget-Ms": "0",
        "Tts-Reply": "stream",
        "Tts-Window": "5",
        "traceparent": "t",
    }


@pytest.mark.parametrize("headers", [None, {}, {"Tts-Id": ""}, {"X-Other": "1", "Authorization": "secret"}])
def test_without_headers_everything_has_its_default(headers: dict[str, str] | None) -> None:
    envelope = Envelope.from_headers(headers, default_id="made-here")
    assert envelope == Envelope("made-here", 1, None, False, DEFAULT_WINDOW_BYTES, None)


def test_a_budget_that_is_over_is_none_left() -> None:
    assert Envelope("x", budget_s=-3.0).headers()["Tts-Budget-Ms"] == "0"
    assert Envelope.from_headers({"Tts-Budget-Ms": "0"}, default_id="").budget_s == 0.0


@pytest.mark.parametrize("name", ["Tts-Attempt", "Tts-Budget-Ms", "Tts-Window"])
@pytest.mark.parametrize("value", ["", "-1", "1.5", "1e3", "x", "٣", "+1", " 1", "1" * 16, "0x10", "1_0"])
def test_a_number_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match=name) as refused:
        Envelope.from_headers({name: value}, default_id="x")
    assert len(str(refused.value)) < 120


def test_a_reply_of_a_kind_that_is_unknown_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="Tts-Reply"):
        Envelope.from_headers({"Tts-Reply": "carrier pigeon"}, default_id="x")
    assert not Envelope.from_headers({"Tts-Reply": ""}, default_id="x").stream
