from __future__ import annotations

import pytest

from gateway.speech import prefers_json


@pytest.mark.parametrize(
    "accept",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/json, */*;q=0.5",
        "audio/mpeg;q=0.1, application/json",
        "application/json;q=0.2",
    ],
)
def test_json_is_sent_to_who_ranks_it_first(accept: str) -> None:
    assert prefers_json(accept)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "audio/mpeg",
        "audio/*, application/json",
        "application/json, text/plain, */*",
        "application/json;q=0.5, audio/mpeg",
        "application/json;q=0",
        "application/json;q=much",
        "text/html",
        ",;,=application/jsonx",
    ],
)
def test_everyone_else_gets_audio(accept: str) -> None:
    assert not prefers_json(accept)
