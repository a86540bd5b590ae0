"""Failures that cross the wire: one code each, and back again."""

from __future__ import annotations

import re

import pytest

from antiphon.errors import AllSlotsBusy, InvalidRequest, MalformedMessage, SpeechError

CODES = SpeechError.codes()


def test_every_type_has_a_code_of_its_own() -> None:
    types = [SpeechError]
    for each in types:
        types.extend(each.__subclasses__())
    assert len({each.code for each in types}) == len(types)
    assert {each.code: each for each in types} == CODES


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_becomes_its_type_again(code: str) -> None:
    failure = SpeechError.from_code(code, "what people read", param="voice")
    assert type(failure) is CODES[code]
    assert (failure.code, str(failure), failure.param) == (code, "what people read", "voice")
    assert failure.retry_after_s is None


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_and_its_number_fit_a_header(code: str) -> None:
    assert re.fullmatch("[a-z_]+", code)
    assert 400 <= CODES[code].number <= 599
    # What a later try can mend is nobody's fault but the group's.
    assert CODES[code].number in (502, 503) or not CODES[code].retryable


def test_a_code_of_a_newer_version_is_a_plain_failure() -> None:
    failure = SpeechError.from_code("code_of_the_future", "later")
    assert type(failure) is SpeechError
    assert (failure.code, failure.retryable, str(failure)) == ("internal", False, "later")


@pytest.mark.parametrize("taken", ["all_slots_busy", "internal"])
def test_a_code_cannot_be_taken_twice(taken: str) -> None:
    with pytest.raises(TypeError, match=taken):
        type("Second", (SpeechError,), {"code": taken})
    assert SpeechError.codes() == CODES


def test_a_type_without_a_code_is_refused() -> None:
    with pytest.raises(TypeError, match="internal"):
        type("Nameless", (SpeechError,), {})


def test_a_failure_carries_what_it_knows() -> None:
    busy = AllSlotsBusy("all at work", retry_after_s=1.5)
    assert (busy.retry_after_s, busy.param, busy.retryable) == (1.5, None, True)
    assert InvalidRequest("no speed", param="speed").param == "speed"


def test_bytes_that_are_no_message_are_no_failure_of_speech() -> None:
    assert not issubclass(MalformedMessage, SpeechError)
