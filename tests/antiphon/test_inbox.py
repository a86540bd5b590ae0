"""Many inboxes on one subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.connection import Connection, connected
from antiphon.inbox import inboxes, is_no_responders
from tests.antiphon.scripted_node import GUARD_S


@pytest.fixture
async def connection(nats_url: str) -> AsyncIterator[Connection]:
    async with connected(nats_url, name="test", within_s=GUARD_S) as made:
        yield made


async def test_each_token_gets_its_own_messages(connection: Connection, raw: Client) -> None:
    got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    async with inboxes(connection) as boxes:
        boxes.on_unknown = lambda msg: got.put_nowait(("unknown", msg.data))
        one = boxes.open(lambda msg: got.put_nowait(("one", msg.data)))
        two = boxes.open(lambda msg: got.put_nowait(("two", msg.data)))
        named = boxes.open(lambda msg: got.put_nowait(("named", msg.data)), token="of-a-run")
        assert (len(boxes), named) == (3, "of-a-run")
        await connection.nc.flush()
        for token in (one, two, named, "nobody", one):
            await raw.publish(boxes.subject(token), token.encode())
        order = [await asyncio.wait_for(got.get(), GUARD_S) for _ in range(5)]
        assert [name for name, _ in order] == ["one", "two", "named", "unknown", "one"]
        boxes.close(one)
        boxes.close(one)
        await raw.publish(boxes.subject(one), b"late")
        assert await asyncio.wait_for(got.get(), GUARD_S) == ("unknown", b"late")
        assert len(boxes) == 2


async def test_tokens_are_not_to_be_guessed(connection: Connection) -> None:
    async with inboxes(connection) as boxes:
        tokens = {boxes.open(lambda _: None) for _ in range(100)}
        assert len(tokens) == 100
        assert min(map(len, tokens)) >= 16


async def test_no_responders_are_told_from_answers(connection: Connection, raw: Client) -> None:
    got: asyncio.Queue[Msg] = asyncio.Queue()
    async with inboxes(connection) as boxes:
        subject = boxes.subject(boxes.open(got.put_nowait))
        await connection.nc.publish("nobody.listens.here", b"", reply=subject)
        assert is_no_responders(await asyncio.wait_for(got.get(), GUARD_S))
        for data, headers in (
            (b"", None),
            (b"503", None),
            (b"", {"Status": "404"}),
            (b"x", {"Status": "503"}),
        ):
            await raw.publish(subject, data, headers=headers)
            assert not is_no_responders(await asyncio.wait_for(got.get(), GUARD_S))
