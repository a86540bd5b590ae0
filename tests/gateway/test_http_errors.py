from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from antiphon.errors import (
    AllSlotsBusy,
    EngineCrashed,
    EngineFailed,
    InvalidRequest,
    NotConnected,
    SpeechError,
)
from gateway.http_errors import (
    HTTP_CODES,
    STATUS,
    http_error_response,
    retry_headers,
    speech_error_response,
    status_of,
)

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"


def test_every_speech_error_has_a_status_of_its_own() -> None:
    assert set(STATUS) == set(SpeechError.codes().values())


def test_whoever_may_come_again_is_told_by_the_status() -> None:
    for error, status in STATUS.items():
        assert status.value in (502, 503) if error.retryable else status.value in (400, 500, 504)


def test_a_class_without_a_status_takes_that_of_its_base() -> None:
    error = type("Newer", (AllSlotsBusy,), {"code": "newer_than_the_table"})()
    try:
        assert status_of(error) == 503
    finally:
        SpeechError._by_code.pop("newer_than_the_table")


@pytest.mark.parametrize("error", [*(cls("text", param="voice") for cls in STATUS)], ids=lambda e: e.code)
def test_every_error_has_the_one_shape(error: SpeechError) -> None:
    response = speech_error_response(error)
    body = json.loads(bytes(response.body))  # type: ignore[arg-type]
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert (body["error"]["message"], body["error"]["param"]) == ("text", "voice")
    assert body["error"]["code"] == error.code
    assert body["error"]["type"] == ("server_error" if response.status >= 500 else "invalid_request_error")
    assert ("Retry-After" in response.headers) == (response.status == 503)


@pytest.mark.parametrize(
    ("forecast_s", "seconds", "milliseconds"),
    [(None, "1", "1000"), (0.0, "1", "1"), (0.2, "1", "200"), (1.0, "1", "1000"), (3.01, "4", "3010")],
)
def test_retry_after_is_the_forecast_in_whole_seconds(
    forecast_s: float | None, seconds: str, milliseconds: str
) -> None:
    headers = speech_error_response(AllSlotsBusy("busy", retry_after_s=forecast_s)).headers
    assert (headers["Retry-After"], headers["Retry-After-Ms"]) == (seconds, milliseconds)


def test_libraries_that_repeat_any_5xx_are_told_when_it_is_of_no_use() -> None:
    assert speech_error_response(EngineFailed("no")).headers["X-Should-Retry"] == "false"
    for error in (EngineCrashed("no"), NotConnected("no"), InvalidRequest("no")):
        assert "X-Should-Retry" not in speech_error_response(error).headers


def test_too_many_requests_has_a_retry_after() -> None:
    assert "Retry-After" in retry_headers(429, retryable=True)
    assert "Retry-After" in http_error_response(429, "slow down").headers


def test_every_code_is_in_the_reference_with_its_status() -> None:
    documented = re.findall(r"^\| `([a-z_]+)` \| (\d{3}) \|", REFERENCE.read_text(), re.MULTILINE)
    expected = {(code, str(STATUS[cls].value)) for code, cls in SpeechError.codes().items()}
    expected |= {(code, str(status)) for status, code in HTTP_CODES.items()}
    assert set(documented) == expected
