"""The stand-in for Xunfei, asked by a client that knows nothing of it: what it checks, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.fake_xunfei.asking import NOW, frames_of, joined, request_of, running, signed
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei


async def code_of(fake: FakeXunfei, message: Any) -> int:
    (frame,) = await frames_of(fake, message)
    return int(frame["code"])


async def refusal_of(url: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as caught:
        await connect(url, proxy=None)
    response = caught.value.response
    return response.status_code, json.loads(response.body)["message"]


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


async def test_it_notes_how_clients_leave() -> None:
    async with running() as fake:
        await frames_of(fake, request_of(fake))
        async with joined(fake) as connection:
            connection.transport.abort()
    assert fake.close_codes == [1000, 1006]
