from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.errors import AllSlotsBusy, EngineFailed, InvalidRequest
from gateway.voice_messages import (
    MAX_REASON_BYTES,
    OPTIONS,
    Message,
    Options,
    Refused,
    failed,
    options_of_query,
    parse_message,
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
_keys = st.sampled_from(["text", "flush", "cancel", "end", *OPTIONS, "other"])


@given(st.text() | _json.map(json.dumps) | st.dictionaries(_keys, _json, max_size=5).map(json.dumps))
def test_whatever_comes_is_a_message_or_refused(data: str) -> None:
    with suppress(Refused, InvalidRequest):
        message = parse_message(data)
        message.text.encode()
        Options().with_values(message.options).request("a")


@given(st.dictionaries(st.sampled_from([*OPTIONS, "other"]), st.text(max_size=10), max_size=7))
def test_whatever_a_query_says_is_options_or_refused(query: dict[str, str]) -> None:
    with suppress(InvalidRequest):
        options_of_query(query).request("a")


def test_a_message_says_all_that_its_keys_say() -> None:
    data = {
        "text": "hi",
        "flush": True,
        "cancel": False,
        "end": None,
        "voice": "a",
        "speed": None,
        "other": 1,
    }
    message = parse_message(json.dumps(data))
    assert message == Message("hi", flush=True, options={"voice": "a", "speed": None})
    assert Options(speed=2.0).with_values(message.options) == Options(voice="a", speed=2.0)
    assert parse_message('{"text": null}') == Message()


@pytest.mark.parametrize(
    ("values", "sample_rate"),
    [
        ({}, 24_000),
        ({"sample_rate": 16_000}, 16_000),
        ({"format": "mp3"}, None),
        ({"format": "mp3", "sample_rate": 16_000}, 16_000),
    ],
)
def test_only_pcm_has_a_sample_rate_of_its_own(values: dict[str, Any], sample_rate: int | None) -> None:
    assert Options().with_values(values).request("a").sample_rate == sample_rate


def test_a_query_may_say_everything() -> None:
    query = {"voice": "a", "model": "m", "speed": "1.5", "format": "wav", "sample_rate": "8000"}
    options = options_of_query({**query, "timestamps": "true", "other": "x"})
    assert options == Options("a", "m", 1.5, "wav", 8000, timestamps=True)
    assert options_of_query({"voice": "", "timestamps": "false"}) == Options()


def test_the_error_tells_when_to_come_again() -> None:
    close = failed(AllSlotsBusy("all are busy", retry_after_s=1.23456))
    assert (close.code, close.reason) == (1013, "all_slots_busy: all are busy")
    assert close.error is not None
    assert close.error["retry_after_s"] == 1.235
    assert "retry_after_s" not in (failed(EngineFailed()).error or {})


@given(st.text())
def test_a_reason_fits_into_its_frame(text: str) -> None:
    reason = failed(EngineFailed(text.encode(errors="replace").decode())).reason_bytes
    assert len(reason) <= MAX_REASON_BYTES
    assert reason.decode().startswith("engine_failed: ")
