"""The connection: servers in order, credentials kept quiet, endless reconnects, closed for good."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.connection import connected

GUARD_S = 10.0


async def test_a_flush_comes_behind_what_was_sent_before_it(nats_url: str, raw: Client) -> None:
    # nats-py's own flush overtakes one subscription in six.
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:

        async def on_request(msg: Msg) -> None:
            await connection.nc.publish(msg.reply, b"here")

        for i in range(100):
            subject = connection.nc.new_inbox()
            subscription = await connection.nc.subscribe(subject, cb=on_request)
            await connection.nc.flush()
            assert (await raw.request(subject, b"", timeout=GUARD_S)).data == b"here", i
            await subscription.unsubscribe()


async def test_a_drain_throws_nothing_away(nats_url: str, raw: Client) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:

        async def on_request(msg: Msg) -> None:
            await connection.nc.publish(msg.reply, b"here")

        for _ in range(50):
            subject = connection.nc.new_inbox()
            subscription = await connection.nc.subscribe(subject, cb=on_request)
            await connection.nc.flush()
            # Sent at the very instant: answered, or nobody responds, but never thrown away.
            asking = [asyncio.create_task(raw.request(subject, b"", timeout=GUARD_S)) for _ in range(5)]
            await subscription.drain()  # type: ignore[no-untyped-call]
            for answer in await asyncio.gather(*asking, return_exceptions=True):
                if isinstance(answer, BaseException):
                    with pytest.raises(nats.errors.NoRespondersError):
                        raise answer
