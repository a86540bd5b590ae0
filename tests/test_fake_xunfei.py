"""The stand-in for Xunfei, asked by a client that knows nothing of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode, urlsplit

import av
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conftest import GUARD_S
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei

NOW = 1_736_150_950.0  # Mon, 06 Jan 2025 08:09:10 GMT


def signed(fake: FakeXunfei, url: str | None = None, *, at: float = NOW, **changes: str) -> str:
    """Return the URL with the parameters of the handshake; `changes` replace what is signed or sent."""
    parts = urlsplit(url or fake.url)
    host = changes.get("host", parts.netloc)
    date = changes.get("date", formatdate(at, usegmt=True))
    text = f"host: {host}\ndate: {date}\nGET {parts.path} HTTP/1.1"
    secret = changes.get("secret", fake.app.api_secret)
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    key = changes.get("key", fake.app.api_key)
    origin = (
        f'api_key="{key}", algorithm="hmac-sha256", headers="host date request-line", '
        f'signature="{base64.b64encode(digest).decode()}"'
    )
    authorization = changes.get("authorization", base64.b64encode(origin.encode()).decode())
    query = {"authorization": authorization, "date": date, "host": host}
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"


def request_of(fake: FakeXunfei, text: str = "hello", **business: Any) -> dict[str, Any]:
    values = {"aue": "raw", "vcn": "xiaoyan", "tte": "UTF8", **business}
    return {
        "common": {"app_id": fake.app.app_id},
        "business": {key: value for key, value in values.items() if value is not None},
        "data": {"status": 2, "text": base64.b64encode(text.encode()).decode()},
    }


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[FakeXunfei]:
    async with asyncio.timeout(GUARD_S), fake_xunfei(clock=lambda: NOW, **options) as fake:
        yield fake


@asynccontextmanager
async def joined(fake: FakeXunfei, url: str | None = None) -> AsyncIterator[ClientConnection]:
    async with connect(signed(fake, url), max_size=2**24, proxy=None) as connection:
        yield connection


async def frames_of(fake: FakeXunfei, message: Any, url: str | None = None) -> list[Any]:
    """Return what comes until status 2, an error or the end."""
    frames: list[Any] = []
    async with joined(fake, url) as connection:
        await connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
        try:
            async for data in connection:
                frames.append(data if isinstance(data, bytes) else json.loads(data))
                if isinstance(frames[-1], dict) and (frames[-1].get("data") or {}).get("status") == 2:
                    break
        except ConnectionClosed:
            frames.append(None)
    return frames


async def code_of(fake: FakeXunfei, message: Any) -> int:
    (frame,) = await frames_of(fake, message)
    return int(frame["code"])


def audio_of(frames: list[Any]) -> bytes:
    return b"".join(base64.b64decode(frame["data"]["audio"]) for frame in frames)


async def refusal_of(url: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, proxy=None)
    response = caught.value.response
    return response.status_code, json.loads(response.body)["message"]


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


async def test_the_handshake_is_checked_in_the_gateways_order() -> None:
    async with running() as fake:
        bad_date = "HMAC signature cannot be verified, a valid date or x-date header is required"
        assert await refusal_of(signed(fake, fake.url.replace("/v2/tts", "/v3/tts"))) == (404, "not found")
        assert await refusal_of(fake.url) == (401, "Unauthorized")
        for at in (NOW - 301, NOW + 301):
            status, message = await refusal_of(signed(fake, at=at, key="unknown", secret="wrong"))
            assert (status, message[: len(bad_date)]) == (403, bad_date)
        assert (await refusal_of(signed(fake, date="yesterday")))[0] == 403
        unverified = "HMAC signature cannot be verified"
        assert await refusal_of(signed(fake, authorization="eA==")) == (401, unverified)
        unknown = await refusal_of(signed(fake, key="unknown", secret="wrong"))
        assert unknown == (401, f"{unverified}: apikey not found")
        assert await refusal_of(signed(fake, secret="wrong")) == (401, "HMAC signature does not match")
        assert await refusal_of(signed(fake, host="tts-api.xfyun.cn")) == (
            401,
            "HMAC signature does not match",
        )
        fake.next(Scenario.REFUSAL, refusal="ip_address")
        assert await refusal_of(signed(fake)) == (403, "Your IP address is not allowed")
        for at in (NOW - 299, NOW + 299):
            async with connect(signed(fake, at=at), proxy=None):
                pass
        assert fake.outcomes["101"] == 2
        assert len(set(fake.authorizations)) == len(fake.authorizations) == 12


async def test_requests_are_validated() -> None:
    async with running() as fake:
        good = request_of(fake)
        assert await code_of(fake, "no json") == 10160
        assert await code_of(fake, b"{}") == 10160
        assert await code_of(fake, {**good, "common": {}}) == 10163
        assert await code_of(fake, {**good, "common": {"app_id": ""}}) == 10313
        assert await code_of(fake, {**good, "common": {"app_id": "another"}}) == 10313
        wrong: list[dict[str, Any]] = [
            *({"aue": None}, {"vcn": None}, {"aue": "ogg"}, {"auf": "audio/L16;rate=24000"}, {"tte": "x"}),
            *({"speed": 101}, {"volume": -1}, {"pitch": "50"}, {"speed": 50.0}, {"speed": True}),
            *({"bgs": 2}, {"sfl": 1}, {"aue": "lame", "sfl": 2}),
        ]
        for business in wrong:
            assert await code_of(fake, request_of(fake, **business)) == 10163, business
        assert await code_of(fake, {**good, "data": {**good["data"], "status": 1}}) == 10163
        assert await code_of(fake, {**good, "data": {"status": 2, "text": "a"}}) == 10161
        assert await code_of(fake, request_of(fake, "")) == 10109
        assert await code_of(fake, request_of(fake, "x" * 8000)) == 10109
        assert await code_of(fake, request_of(fake, vcn="x4_nobody")) == 11200
        await frames_of(fake, request_of(fake, "x" * 7999))
        assert len(fake.orders) == 1


async def test_limits_are_told_with_the_first_reply() -> None:
    async with running(most_at_once=1) as fake, joined(fake) as first:
        assert await code_of(fake, request_of(fake)) == 11203
        await first.close()
    async with running(most_per_s=2) as fake:
        await frames_of(fake, request_of(fake))
        await frames_of(fake, request_of(fake))
        assert await code_of(fake, request_of(fake)) == 11202


async def test_who_says_nothing_is_left() -> None:
    async with running(idle_s=0.01) as fake, joined(fake) as connection:
        assert json.loads(await connection.recv())["code"] == 10200
        await connection.wait_closed()
        assert connection.close_code == 1000
    async with running(idle_s=0.01, bare_idle_close=True) as fake, joined(fake) as connection:
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (1000, "time out")


async def test_it_closes_by_itself_some_time_after_the_end() -> None:
    async with running(close_delay_s=0.0) as fake, joined(fake) as connection:
        await connection.send(json.dumps(request_of(fake)))
        async for _ in connection:
            pass
        assert connection.close_code == 1000


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


async def test_it_notes_how_clients_leave() -> None:
    async with running() as fake:
        await frames_of(fake, request_of(fake))
        async with joined(fake) as connection:
            connection.transport.abort()
    assert fake.close_codes == [1000, 1006]
