"""How audio gets to a caller in one plain reply."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.aio.msg import Msg

from antiphon.connection import connected
from antiphon.errors import AudioTooLarge, EngineFailed, UnknownVoice
from synth_node.plain_delivery import PlainDelivery
from tests.synth_node.conftest import GUARD_S, RawCaller


async def plain(raw: RawCaller, nc: Any) -> tuple[PlainDelivery, asyncio.Queue[Msg]]:
    """Return a delivery, and a queue of what came of it."""
    got: asyncio.Queue[Msg] = asyncio.Queue()

    async def on_message(msg: Msg) -> None:
        got.put_nowait(msg)

    subject = raw.nc.new_inbox()
    await raw.nc.subscribe(subject, cb=on_message)
    await raw.nc.flush()
    await raw.nc.flush()
    return PlainDelivery(nc, subject=subject, id="id-1", format="wav", node="n1"), got


async def test_a_plain_reply_is_one_message(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        await delivery.accept("n1", 0, "m")
        for piece in (b"ab", b"c"):
            await delivery.audio(piece)
        delivery.credit(5, None)
        await delivery.end(audio_ms=5, synthesis_ms=7)
        msg = await asyncio.wait_for(got.get(), GUARD_S)
    assert msg.data == b"abc"
    assert msg.headers == {
        "Content-Type": "audio/wav",
        "Tts-Id": "id-1",
        "Tts-Node": "n1",
        "Tts-Audio-Ms": "5",
        "Tts-Synthesis-Ms": "7",
    }
    assert delivery.is_complete
    assert got.empty()


async def test_a_plain_failure_is_headers_only(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        await delivery.audio(b"half")
        await delivery.fail(UnknownVoice("no\r\nsuch: voice " + "模" * 10_000))
        msg = await asyncio.wait_for(got.get(), GUARD_S)
    assert msg.data == b""
    assert msg.headers is not None
    text = msg.headers.pop("Nats-Service-Error")
    assert text.startswith("no such: voice 模")
    assert len(text) <= 400
    assert msg.headers == {
        "Nats-Service-Error-Code": "400",
        "Tts-Error": "unknown_voice",
        "Tts-Id": "id-1",
        "Tts-Node": "n1",
    }


async def test_a_failure_without_a_text_still_says_something(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        await delivery.fail(EngineFailed())
        msg = await asyncio.wait_for(got.get(), GUARD_S)
    assert msg.headers is not None
    assert msg.headers["Nats-Service-Error"] == "engine_failed"


async def test_what_one_message_cannot_carry_is_refused(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        limit = connection.nc.max_payload - 1024
        await delivery.audio(b"x" * limit)
        with pytest.raises(AudioTooLarge, match="Tts-Reply: stream"):
            await delivery.audio(b"x")
        await delivery.fail(AudioTooLarge("too large"))
        msg = await asyncio.wait_for(got.get(), GUARD_S)
        assert msg.data == b""
        delivery, got = await plain(raw, connection.nc)
        await delivery.audio(b"x" * limit)
        await delivery.end(audio_ms=10**12, synthesis_ms=10**12)
        assert len((await asyncio.wait_for(got.get(), GUARD_S)).data) == limit
        assert connection.nc.is_connected


async def test_a_closed_plain_delivery_says_nothing(nats_url: str, raw: RawCaller) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        delivery, got = await plain(raw, connection.nc)
        delivery.close()
        await delivery.end(audio_ms=1, synthesis_ms=1)
        await delivery.fail(EngineFailed("no"))
        await connection.nc.flush()
        await raw.nc.flush()
    assert got.empty()
