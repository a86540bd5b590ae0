"""POST /tts with timestamps: what is heard, and when, through real nodes."""

from __future__ import annotations

import base64
import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway, GatewayFactory

MS_PER_CHARACTER = 60  # of the tone engine
TEXT = "Erstes Wort 😀 hier. Dann der\nzweite Satz, und Schluss!"


async def post(gateway: Gateway, values: dict[str, Any], **headers: str) -> tuple[int, Any, bytes]:
    async with gateway.http.post("/tts", json={"timestamps": True, **values}, headers=headers) as reply:
        return reply.status, reply.headers, await reply.read()


def events_of(body: bytes) -> list[dict[str, Any]]:
    lines = body.decode().split("\n\n")
    assert lines.pop() == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def check_words(text: str, words: list[dict[str, Any]]) -> None:
    """Check against the tone engine: every word is as long as its characters, one after another."""
    assert [word["word"] for word in words] == text.split()
    for word in words:
        assert text[word["offset"] : word["offset"] + word["length"]] == word["word"]
        assert word["end_ms"] - word["start_ms"] == pytest.approx(MS_PER_CHARACTER * word["length"], abs=1)
    assert all(a["end_ms"] <= b["start_ms"] for a, b in pairwise(words))


async def test_json_tells_when_each_word_is_heard(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        status, headers, body = await post(gateway, {"text": TEXT, "format": "wav"})
        values = json.loads(body)
        assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        check_words(TEXT, values["words"])
        assert values["words"][-1]["end_ms"] <= values["audio_ms"]
        audio = base64.b64decode(values["audio_data"], validate=True)
        assert audio[:4] == b"RIFF"
        assert (values["model"], values["format"]) == ("tone", "wav")
        assert {"audio_data", "content_type", "node", "id"} < set(values)


async def test_without_timestamps_there_are_no_words(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        status, _, body = await post(
            gateway, {"text": "hello", "timestamps": False}, Accept="application/json"
        )
        assert (status, "words" in json.loads(body)) == (200, False)


async def test_a_list_is_one_text(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        _, _, body = await post(gateway, {"text": ["one two", "three"]})
        check_words("one two\n\nthree", json.loads(body)["words"])


async def test_events_come_in_the_order_in_which_they_are_heard(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        status, headers, body = await post(gateway, {"text": TEXT, "stream": True, "format": "pcm"})
        assert (status, headers["Content-Type"]) == (200, "text/event-stream")
        *events, done = events_of(body)
        assert done["type"] == "done"
        words = [word for event in events if event["type"] == "words" for word in event["words"]]
        check_words(TEXT, words)
        segments = [event for event in events if event["type"] == "segment"]
        assert [segment["index"] for segment in segments] == list(range(segments[0]["n_segments"]))
        assert events[0] == segments[0]
        spoken = [TEXT[event["offset"] : event["offset"] + event["length"]] for event in segments]
        assert " ".join(spoken).split() == TEXT.split()
        n_bytes = 0
        for event in events:
            if event["type"] == "audio":
                n_bytes += len(base64.b64decode(event["audio"], validate=True))
            elif event["type"] == "words":
                first_ms = event["words"][0]["start_ms"]
                assert first_ms >= n_bytes / 2 / 22.05 - 1, "words are told before they are heard"
        assert done["audio_ms"] == pytest.approx(n_bytes / 2 / 22.05, abs=1)


async def test_a_failure_on_the_way_is_the_last_event(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        values = {"text": "fail", "model": "scripted", "stream": True}
        status, _, body = await post(gateway, values)
        assert status == 200
        *events, error = events_of(body)
        assert "audio" in {event["type"] for event in events}
        assert "done" not in {event["type"] for event in events}
        assert (error["type"], error["error"]["code"]) == ("error", "engine_failed")


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"text": "<speak>hello</speak>", "input_type": "ssml"}, "input_type"),
        ({"text": "hello", "input_type": "html"}, "input_type"),
        ({"text": "hello", "timestamps": 1}, "timestamps"),
        ({"text": "hello", "timestamps": 1, "stream": True}, "timestamps"),
    ],
)
async def test_what_cannot_be_is_refused(
    speaking: GatewayFactory, values: dict[str, Any], param: str
) -> None:
    async with speaking() as gateway:
        status, _, body = await post(gateway, values)
        error = json.loads(body)["error"]
        assert (status, error["code"], error["param"]) == (400, "invalid_request", param)


async def test_audio_beyond_what_is_held_is_for_a_stream(speaking: GatewayFactory) -> None:
    async with speaking(hold_bytes=1000) as gateway:
        status, _, body = await post(gateway, {"text": TEXT})
        assert (status, json.loads(body)["error"]["code"]) == (400, "audio_too_large")
        assert "stream: true" in json.loads(body)["error"]["message"]


async def test_a_request_over_http_cannot_begin_in_the_midst(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        values = {"text": "one two", "resume": {"offset": 4, "skip_s": 0.0}}
        _, _, body = await post(gateway, values)
        assert [word["word"] for word in json.loads(body)["words"]] == ["one", "two"]
