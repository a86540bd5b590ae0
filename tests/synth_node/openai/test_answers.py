"""Errors of real servers in our words, when to ask again, and lists of voices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from antiphon.errors import (
    EngineFailed,
    InvalidRequest,
    NothingToSpeak,
    SpeechError,
    TextTooLong,
    UnknownVoice,
)
from antiphon.heartbeat import Voice
from antiphon.openai_voices import OPENAI_VOICES
from synth_node.engines.openai.answers import (
    Told,
    failure,
    listed_voices,
    retry_after_s,
    told,
)
from synth_node.network.trouble import MAX_WORDS, Busy, Doubtful, Failing, Misconfigured, Trouble

KEY = "sk-proj-4242"
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LITELLM = {
    "error": {
        "message": "litellm.RateLimitError: RateLimitError: OpenAIException - slow",
        "type": "throttling_error",
        "param": None,
        "code": "429",
    }
}


def openai(message: str = "no", *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def fastapi(field: str, message: str = "field required") -> dict[str, Any]:
    return {"detail": [{"type": "missing", "loc": ["body", field], "msg": message, "input": {}}]}


def found(
    status: int, body: object = b"", headers: Mapping[str, str] | None = None, key: str | None = KEY
) -> SpeechError | Trouble:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return failure(status, CIMultiDict(headers or {}), data, key=key, now=NOW)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (openai("slow down", code="rate_limit_exceeded"), Told("slow down", "rate_limit_exceeded")),
        (openai("too long", param="input"), Told("too long", "invalid_request_error", "input")),
        (fastapi("voice"), Told("field required", param="voice")),
        ({"detail": "Not Found"}, Told("Not Found")),
        ({"detail": {"error": "invalid", "message": "no voice x"}}, Told("no voice x", "invalid")),
        (LITELLM, Told(LITELLM["error"]["message"] or "", "429")),
        ({"error": {"code": 500, "message": "rpc error", "type": ""}}, Told("rpc error")),
        ({"object": "error", "message": "m", "type": "NotFoundError", "code": 404}, Told("m")),
        ({"error": "model is loading"}, Told("model is loading")),
        ("Internal error", Told("Internal error")),
        ({"detail": []}, Told()),
        ({"detail": [{"loc": "voice", "msg": 3}]}, Told()),
        ({"error": {"message": ["a"], "code": {"b": 1}}}, Told()),
        ([1, 2], Told()),
        (None, Told()),
        (b"", Told()),
    ],
)  # fmt: skip
def test_each_shape_of_an_error_is_read(body: object, expected: Told) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert told(data) == expected


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"upstream request timeout", "text/plain", "upstream request timeout"),
        (b"upstream request timeout", "Text/Plain; charset=utf-8", "upstream request timeout"),
        (b"  <html><h1>502 Bad Gateway</h1></html>", "text/html", ""),
        (b"\xff\xfe\x00", "text/plain", "\ufffd\ufffd"),
        (b"[" * 100_000, "text/plain", "[" * MAX_WORDS + "…"),
        (b"ID3\x04\xff\xfb\x90" * 100, "audio/mpeg", ""),
        (b"\x1f\x8b\x08\xab\xcd", "application/octet-stream", ""),
        (b"\x1f\x8b\x08\xab\xcd", "application/json", ""),
        (b"\x1f\x8b\x08\xab\xcd", "", ""),
        (b'{"error": "model is loading"}', "", "model is loading"),
        (b"", "text/plain", ""),
    ],
)
def test_what_is_no_json_is_quoted_only_if_it_is_said_to_be_text(
    body: bytes, content_type: str, expected: str
) -> None:
    assert told(body, content_type) == Told(expected)
    error = found(500, body, {"content-type": content_type})
    assert isinstance(error, Trouble)
    assert error.words == expected


def test_a_servers_words_are_one_bounded_line_without_the_key() -> None:
    message = f"bad\r\nkey {KEY}\x1b[31m, " + "x" * 1000
    line = told(json.dumps(openai(message)).encode(), key=KEY).message
    assert line.startswith("bad key *** [31m, xxx")
    assert len(line) == MAX_WORDS + 1


@given(
    st.binary(max_size=300)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(repr).map(str.encode)
)
def test_no_body_breaks_the_reader(body: bytes) -> None:
    error = told(body, "text/plain", KEY)
    assert all(isinstance(part, str) for part in (error.message, error.code, error.param))
    assert len(error.message) <= MAX_WORDS + 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=5) | st.integers(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["error", "detail", "message", "code", "param", "loc", "msg", "type"]), inner
            )
        ),
    ),
    st.integers(min_value=201, max_value=599),
)
def test_every_error_is_understood_as_something(body: object, status: int) -> None:
    assert isinstance(found(status, body), SpeechError | Trouble)


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (401, openai(code="invalid_api_key"), Misconfigured, "the server wants another SYNTH_OPENAI_API_KEY"),
        (401, openai("Missing scopes: model.request."), Misconfigured, "SYNTH_OPENAI_API_KEY may not"),
        (403, openai(code="unsupported_country"), Doubtful, r"may not do this: .* 403 \(unsupp"),
        (402, b"", Misconfigured, "nothing left to spend"),
        (429, openai(code="insufficient_quota"), Misconfigured, r"nothing left .* 429 \(insufficient"),
        (404, openai(code="model_not_found"), Misconfigured, "SYNTH_OPENAI_MODEL is not known there"),
        (404, {"detail": "Model 'x' is not installed"}, Doubtful, "SYNTH_OPENAI_MODEL"),
        (422, fastapi("model"), Misconfigured, "SYNTH_OPENAI_MODEL"),
        (400, openai(param="response_format"), Misconfigured, "SYNTH_OPENAI_FORMAT is not known there"),
        (404, {"detail": "Not Found"}, Doubtful, "SYNTH_OPENAI_BASE_URL has no /audio/speech"),
        (405, b"", Doubtful, "SYNTH_OPENAI_BASE_URL has no /audio/speech"),
        (429, LITELLM, Busy, r"the server answered 429 \(429\)"),
        (503, openai(code="all_slots_busy"), Busy, r"503 \(all_slots_busy\)"),
        (500, {"error": {"code": 500, "message": "rpc error"}}, Failing, "500"),
        (502, openai(code="engine_crashed"), Failing, r"502 \(engine_crashed\)"),
        (504, b"<html>", Failing, "504"),
        (408, b"", Failing, "408"),
        (409, b"", Failing, "409"),
        (413, b"", TextTooLong, "SYNTH_SEGMENT_CHARACTERS"),
        (400, openai(code="string_above_max_length", param="input"), TextTooLong, "SYNTH_SEGMENT_CHARACTERS"),
        (400, openai(code="text_too_long", param="input"), TextTooLong, "400"),
        (400, openai("only signs", code="nothing_to_speak", param="input"), NothingToSpeak, "only signs"),
        (400, openai("no zz", code="unknown_voice", param="voice"), UnknownVoice, "no zz"),
        (404, openai("no zz", param="voice"), UnknownVoice, "no zz"),
        (422, fastapi("voice"), UnknownVoice, "field required"),
        (400, openai(param="speed"), InvalidRequest, "400"),
        (400, openai(param="input"), InvalidRequest, "400"),
        (400, openai("moderated", code="content_policy_violation"), InvalidRequest, "moderated"),
        (403, openai("moderated", code="ResponsibleAIPolicyViolation"), InvalidRequest, "moderated"),
        (401, openai("moderated", code="content_policy_violation"), Misconfigured, "another"),
        (415, openai("json", code="content_type_unknown"), EngineFailed, "json"),
        (403, openai(code="model_not_found"), Misconfigured, "SYNTH_OPENAI_MODEL"),
        (204, b"", EngineFailed, "204"),
    ],
)  # fmt: skip
def test_each_failure_is_laid_to_whose_fault_it_is(
    status: int, body: object, kind: type[Exception], text: str
) -> None:
    error = found(status, body)
    assert type(error) is kind
    with pytest.raises(kind, match=text):
        raise error


def test_a_fault_of_the_request_names_our_field() -> None:
    for theirs, ours in (("input", "text"), ("voice", "voice"), ("speed", "speed")):
        error = found(400, openai(param=theirs))
        assert isinstance(error, SpeechError)
        assert error.param == ours


def test_without_a_key_the_setting_is_named() -> None:
    assert str(found(401, key=None)) == "the server wants a key: set SYNTH_OPENAI_API_KEY"


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500, 503])
def test_a_servers_words_are_kept_apart_for_they_may_repeat_the_text(status: int) -> None:
    error = found(status, openai("cannot say 'my secret diary'", code="no"))
    assert isinstance(error, Trouble)
    assert "diary" not in str(error)
    assert ("diary" in error.in_full) == (status != 401), "those of 401 may show a part of the key"


def test_a_code_that_is_no_name_is_left_out() -> None:
    assert str(found(500, openai(code="cannot say my diary"))) == "the server answered 500"


def test_a_redirect_names_the_setting_and_the_way_without_its_query() -> None:
    error = found(307, headers={"location": f"https://b.example/v1/audio/speech?sig={KEY}"})
    assert type(error) is Doubtful
    assert "'https://b.example/v1/audio/speech'" in str(error)
    assert "SYNTH_OPENAI_BASE_URL" in str(error)
    assert KEY not in error.in_full


def test_a_server_may_say_that_no_other_try_will_do() -> None:
    error = found(500, openai("no sound", code="bad_audio"), {"x-should-retry": "false"})
    assert type(error) is EngineFailed
    assert "no sound" in str(error)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"Retry-After": "7", "Retry-After-Ms": "1500"}, 1.5),
        ({"Retry-After": "7", "Retry-After-Ms": "soon"}, 7.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sun, 01 Mar 2026 12:00:30 -0000"}, 30.0),
        ({"Retry-After": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "later"}, None),
        ({"Retry-After": "Sun, 99 Mar 2026 12:00:30 GMT"}, None),
    ],
)
def test_each_form_of_retry_after_is_read(headers: dict[str, str], expected: float | None) -> None:
    assert retry_after_s(CIMultiDict(headers), NOW) == expected
    busy = found(429, headers=headers)
    assert isinstance(busy, Busy)
    assert busy.after_s == expected


@given(st.text(max_size=40))
def test_no_retry_after_breaks_the_reader(value: str) -> None:
    after_s = retry_after_s({"Retry-After": value, "Retry-After-Ms": value}, NOW)
    assert after_s is None or after_s >= 0


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ({"voices": ["af_heart", "bm_lewis"]}, [Voice("af_heart"), Voice("bm_lewis")]),
        (
            {"voices": [{"id": "anna", "name": "Anna", "language": "de"}, {"id": "ben"}]},
            [Voice("anna", "Anna", "de"), Voice("ben")],
        ),
        ({"data": [{"voice_id": "v1", "name": "One", "locale": "zh-CN"}]}, [Voice("v1", "One", "zh-CN")]),
        ([{"name": "only"}], [Voice("only", "only")]),
        (["a", "b", "a"], [Voice("a"), Voice("b")]),
        (["", "x" * 201, 3, None, {"id": 4}, "ok"], [Voice("ok")]),
        (["half \ud83d", {"id": "ok", "name": "half \ud83d"}], [Voice("ok")]),
    ],
)
def test_each_shape_of_a_list_of_voices_is_read(listed: object, expected: list[Voice]) -> None:
    assert listed_voices(listed) == tuple(expected)


@pytest.mark.parametrize("listed", [None, {}, {"voices": []}, {"voices": "alloy"}, "alloy", 7, []])
def test_without_a_list_the_voices_are_those_of_openai(listed: object) -> None:
    assert [voice.id for voice in listed_voices(listed)] == list(OPENAI_VOICES)
