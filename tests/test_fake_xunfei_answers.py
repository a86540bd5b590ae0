"""The answers of the stand-in for Xunfei: as they should be, awkward, broken, and heard."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import av
import pytest

from tests.fake_xunfei.asking import frames_of, joined, request_of, running
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei


def audio_of(frames: list[Any]) -> bytes:
    return b"".join(base64.b64decode(frame["data"]["audio"]) for frame in frames)


async def test_an_utterance_comes_in_frames_that_tell_the_text_heard_so_far() -> None:
    async with running() as fake:
        frames = await frames_of(fake, request_of(fake, "One. Two. 你好。"))
        n_bytes = len("One. Two. 你好。".encode())
        assert [frame["data"]["status"] for frame in frames] == [1] * (len(frames) - 1) + [2]
        assert {frame["code"] for frame in frames} == {0}
        assert len({frame["sid"] for frame in frames}) == 1
        assert frames[0]["sid"].startswith("tts")
        assert len(frames[0]["sid"]) == 32
        positions = [int(frame["data"]["ced"]) for frame in frames]
        assert positions == sorted(positions)
        assert positions[-1] == n_bytes
        assert len(audio_of(frames)) == 2 * 16000 * 13 * 6 // 100
        assert fake.orders[0].text == "One. Two. 你好。"
        assert (fake.total, fake.peak) == (1, 1)


WHOLE = (
    *(Scenario.NULL_DATA, Scenario.NO_DATA, Scenario.ONE_FRAME, Scenario.EMPTY_LAST, Scenario.ODD_PIECES),
    *(Scenario.CONTINUED, Scenario.BIG_FRAME, Scenario.SID_ONCE, Scenario.UNKNOWN_FIELDS, Scenario.BINARY),
)


@pytest.mark.parametrize("scenario", WHOLE)
async def test_awkward_answers_hold_the_same_audio(scenario: Scenario) -> None:
    async with running() as fake:
        plain = audio_of(await frames_of(fake, request_of(fake)))
        fake.next(scenario)
        frames = await frames_of(fake, request_of(fake))
        binary = b"".join(frame for frame in frames if isinstance(frame, bytes))
        texts = [frame for frame in frames if isinstance(frame, dict) and frame.get("data")]
        assert audio_of(texts) + binary == plain
        match scenario:
            case Scenario.NULL_DATA:
                assert frames[0]["data"] is None
            case Scenario.NO_DATA:
                assert "data" not in frames[0]
            case Scenario.ONE_FRAME:
                assert len(frames) == 1
            case Scenario.EMPTY_LAST:
                assert frames[-1]["data"]["audio"] == ""
            case Scenario.ODD_PIECES:
                assert len(base64.b64decode(frames[0]["data"]["audio"])) % 2 == 1
            case Scenario.BIG_FRAME:
                assert len(json.dumps(frames[0])) > 2**20
            case Scenario.SID_ONCE:
                assert ["sid" in frame for frame in frames] == [True] + [False] * (len(frames) - 1)
            case Scenario.UNKNOWN_FIELDS:
                assert "desc" in frames[0]
            case Scenario.BINARY:
                assert binary == plain


@pytest.mark.parametrize("scenario", [Scenario.EARLY_CLOSE, Scenario.ABORT, Scenario.ERROR_LATER])
async def test_broken_answers_have_no_end(scenario: Scenario) -> None:
    async with running(piece_bytes=1024) as fake:
        fake.next(scenario, code=10019)
        frames = await frames_of(fake, request_of(fake))
        assert all(frame["data"]["status"] == 1 for frame in frames if frame and "data" in frame)
        assert frames[0]["data"]["audio"]
        last = {Scenario.ABORT: None}.get(scenario, frames[-1])
        assert frames[-1] == last
        if scenario is Scenario.ERROR_LATER:
            assert frames[-1]["code"] == 10019
            assert "data" not in frames[-1]


@pytest.mark.parametrize(("aue", "sfl"), [("raw", None), ("lame", 1), ("lame", None)])
async def test_it_speaks_with_a_real_voice(aue: str, sfl: int | None) -> None:
    async with running(voice="espeak") as fake:
        frames = await frames_of(fake, request_of(fake, "你好，世界。", aue=aue, sfl=sfl))
        slow = await frames_of(fake, request_of(fake, "你好，世界。", aue=aue, sfl=sfl, speed=0))
    seconds = [seconds_of(audio_of(each), aue) for each in (frames, slow)]
    assert 0.8 < seconds[0] < 3
    assert 1.6 < seconds[1] / seconds[0] < 2.4
    assert (len(frames) == 1) == (aue == "lame" and sfl is None)


def seconds_of(audio: bytes, aue: str) -> float:
    if aue == "raw":
        return len(audio) / 2 / 16000
    with av.open(io.BytesIO(audio), mode="r", format="mp3") as file:
        return float(sum(frame.samples for frame in file.decode(file.streams.audio[0])) / 16000)


def super_request(fake: FakeXunfei, **tts: Any) -> dict[str, Any]:
    text = base64.b64encode(b"hello").decode()
    audio = {"encoding": "raw", "sample_rate": 24000, "channels": 1, "bit_depth": 16, "frame_size": 0}
    return {
        "header": {"app_id": fake.app.app_id, "status": 2},
        "parameter": {"tts": {"vcn": "x5_lingxiaoxuan_flow", "audio": audio, **tts}},
        "payload": {"text": {"encoding": "utf8", "status": 2, "seq": 0, "text": text}},
    }


async def super_frames(fake: FakeXunfei, message: dict[str, Any]) -> list[Any]:
    frames: list[Any] = []
    async with joined(fake, fake.super_url) as connection:
        await connection.send(json.dumps(message))
        async for data in connection:
            frames.append(json.loads(data))
            if frames[-1]["header"]["status"] == 2:
                break
    return frames


async def test_the_super_human_service_has_frames_of_its_own() -> None:
    async with running(piece_bytes=1024) as fake:
        frames = await super_frames(fake, super_request(fake))
        parts = [frame["payload"]["audio"] for frame in frames]
        assert [part["seq"] for part in parts] == list(range(len(parts)))
        assert parts[-1]["status"] == 2
        plain = b"".join(base64.b64decode(part["audio"]) for part in parts)
        assert len(plain) == 2 * 24000 * 5 * 6 // 100
        fake.next(Scenario.OUT_OF_ORDER)
        frames = await super_frames(fake, super_request(fake))
        parts = [frame["payload"]["audio"] for frame in frames]
        assert [part["seq"] for part in parts[:2]] == [1, 0]
        parts.sort(key=lambda part: int(part["seq"]))
        assert b"".join(base64.b64decode(part["audio"]) for part in parts) == plain
        fake.next(Scenario.NO_DATA)
        assert "payload" not in (await super_frames(fake, super_request(fake)))[0]
        (refused,) = await super_frames(fake, super_request(fake, vcn="xiaoduo"))
        assert (refused["header"]["code"], refused["header"]["status"]) == (11200, 0)
        (refused,) = await super_frames(fake, super_request(fake, speed=500))
        assert refused["header"]["code"] == 10163
