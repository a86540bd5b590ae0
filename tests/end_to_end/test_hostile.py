"""What anybody on the bus may send: it hurts neither nodes nor callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit

import pytest

from antiphon.client import TtsClient
from antiphon.errors import InvalidRequest
from antiphon.subjects import Subjects
from tests.conftest import GUARD_S, StartNode, until_ready


@asynccontextmanager
async def raw_socket(nats_url: str) -> AsyncIterator[asyncio.StreamWriter]:
    """A connection that can send what no client library would."""
    url = urlsplit(nats_url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    with closing(writer):
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\nPING\r\n')
        while await reader.readline() != b"PONG\r\n":
            pass
        yield writer


HOSTILE = {
    "reply that is no text": b"PUB {synth} me.\xff 5\r\nhello\r\n",
    "headers that are no text": b"HPUB {synth} me.x 16 21\r\nNATS/1.0 \xff\xfe\xfd\r\n\r\nhello\r\n",
    "reply of 4,000 bytes": b"PUB {synth} me." + b"r" * 4000 + b" 5\r\nhello\r\n",
    "heartbeat of no node": b"PUB {root}.heartbeat.\xff.x 0\r\n\r\n",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_message_is_dropped(
    name: str, nats_url: str, subjects: Subjects, start_node: StartNode, client: TtsClient
) -> None:
    await start_node(engine="tone")
    await until_ready(client)
    message = HOSTILE[name].replace(b"{synth}", subjects.synth("tone").encode())
    async with raw_socket(nats_url) as writer, asyncio.timeout(GUARD_S):
        writer.write(message.replace(b"{root}", subjects.root.encode()))
        await writer.drain()
        # A node or a client that had stopped reading would be found by its pings only, after seconds: the
        # accept time-outs and the pings of a run would show here as lost connections.
        assert await client.speak("hello", model="tone")
    assert client.connection.nc.stats["reconnects"] == 0
    assert not client.connection.closed.is_set()


async def test_a_model_of_5000_letters_is_refused_before_it_is_sent(client: TtsClient) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await client.speak("hello", model="a" * 5000)
    assert refused.value.param == "model"
    assert client.connection.nc.is_connected
