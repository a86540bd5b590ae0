"""The connection: servers in order, credentials kept quiet, endless reconnects, closed for good."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.client import Server as PooledServer
from nats.aio.msg import Msg

from antiphon.connection import _in_order, connected
from antiphon.errors import NotConnected
from antiphon.servers import server_list
from tests.antiphon.scripted_node import GUARD_S, settled, soon
from tests.conftest import NatsServer


@contextmanager
def server_with(directory: Path, *options: str) -> Iterator[str]:
    """Run a nats-server with options of its own; yield its URL."""
    binary = Path(sys.executable).parent / "nats-server"
    command = [str(binary), "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir", str(directory), *options]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        ports = directory / f"nats-server_{server.pid}.ports"
        deadline = time.monotonic() + GUARD_S
        while not ports.exists() or not ports.read_text():
            assert time.monotonic() < deadline, "nats-server did not start"
            time.sleep(0.005)
        yield json.loads(ports.read_text())["nats"][0]
    finally:
        server.terminate()
        server.wait(GUARD_S)


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


async def test_the_first_server_that_answers_is_used(nats_url: str) -> None:
    servers = f"nats://127.0.0.1:1,{nats_url}"
    async with connected(servers, name="test", within_s=GUARD_S) as connection:
        assert connection.nc.is_connected
        assert str(connection.nc.connected_url.port) == nats_url.rpartition(":")[2]  # type: ignore[union-attr]
        assert connection.connected_for_s >= 0.0
        assert connection.rtt_s > 0.0


@pytest.mark.parametrize(
    "url",
    [
        "nats://user:hunter2@127.0.0.1:1",
        "user:hunter2@127.0.0.1:1",
        "nats://user:hunter2@127.0.0.1:port",
        "nats://user:hunter2@no-such-host.invalid:4222",
    ],
)
async def test_no_server_is_told_within_the_bound_and_without_credentials(url: str) -> None:
    with pytest.raises(NotConnected) as refused:
        async with asyncio.timeout(GUARD_S), connected(url, name="test", within_s=0.3):
            raise AssertionError("connected to nobody")
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__, "a traceback would tell more"


async def test_without_a_bound_it_waits_for_the_server(own_nats_server: NatsServer) -> None:
    own_nats_server.stop()

    async def connect() -> bool:
        async with connected(own_nats_server.url, name="test", reconnect_wait_s=0.02) as connection:
            return connection.nc.is_connected

    connecting = asyncio.create_task(connect())
    await asyncio.wait({connecting}, timeout=0.2)
    assert not connecting.done()
    own_nats_server.start()
    assert await asyncio.wait_for(connecting, GUARD_S)


async def test_refused_credentials_are_final(tmp_path: Path) -> None:
    with server_with(tmp_path, "--auth", "right") as url:
        port = url.rpartition(":")[2]
        with pytest.raises(NotConnected) as refused:
            async with (
                asyncio.timeout(GUARD_S),
                connected(f"nats://wrong-token@127.0.0.1:{port}", name="test"),
            ):
                raise AssertionError("let in")
        assert "wrong-token" not in str(refused.value)
        async with connected(f"nats://right@127.0.0.1:{port}", name="test", within_s=GUARD_S) as connection:
            assert connection.nc.is_connected


async def test_a_restart_of_the_server_is_survived(own_nats_server: NatsServer) -> None:
    again = asyncio.Event()

    async def on_reconnect() -> None:
        again.set()

    async with connected(
        own_nats_server.url, name="test", within_s=GUARD_S, reconnect_wait_s=0.02
    ) as connection:
        connection.on_reconnect(on_reconnect)
        for _ in range(2):
            own_nats_server.stop()
            await soon(lambda: not connection.nc.is_connected, "the connection is lost")
            assert connection.connected_for_s == 0.0
            waiting = asyncio.create_task(connection.established())
            await asyncio.wait({waiting}, timeout=0.05)
            assert not waiting.done()
            own_nats_server.start()
            await asyncio.wait_for(waiting, GUARD_S)
            await asyncio.wait_for(again.wait(), GUARD_S)
            again.clear()
        assert not connection.closed.is_set()


async def test_the_standby_is_used_while_the_first_is_gone(
    own_nats_server: NatsServer, tmp_path: Path
) -> None:
    (tmp_path / "standby").mkdir()
    standby = NatsServer(tmp_path / "standby")
    standby.start()
    servers = f"{own_nats_server.url},{standby.url}"
    async with connected(servers, name="test", within_s=GUARD_S, reconnect_wait_s=0.02) as connection:

        def used() -> str:
            url = connection.nc.connected_url
            return "" if url is None or not connection.nc.is_connected else f"nats://127.0.0.1:{url.port}"

        assert used() == own_nats_server.url
        own_nats_server.stop()
        await soon(lambda: used() == standby.url, "the standby is used")
        own_nats_server.start()
        standby.stop()
        await soon(lambda: used() == own_nats_server.url, "the first is used again")


@pytest.mark.parametrize(
    ("urls", "pool"),
    [
        ("nats://a:1,nats://b:2,nats://c:3", "nats://c:3,nats://b:2,nats://a:1"),
        ("nats://a,b,tls://t@c", "tls://t@c:4222,nats://b:4222,nats://a:4222"),
        ("u:p@a:1,u:p@b:1", "nats://found:1,nats://u:p@b:1,nats://u:p@a:1"),
        ("nats://A:1,nats://a:2,nats://A:1", "nats://a:2,nats://a:1"),
    ],
)
def test_the_earliest_in_the_list_comes_first_however_it_is_written(urls: str, pool: str) -> None:
    servers = [PooledServer(urlparse(url)) for url in pool.split(",")]
    choose = _in_order(server_list(urls), 1.0)
    chosen, pause_s = choose(servers, {})
    assert chosen is servers[-1]
    assert pause_s == 0.0
    servers[-1].reconnects = 1000
    chosen, _ = choose(servers, {})
    assert chosen is servers[-2], "one that keeps failing is not the next to be tried"


async def test_a_connection_that_is_closed_for_good_says_so(nats_url: str) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        # The server counts headers too, nats-py does not: this ends the connection, and nothing mends it.
        await connection.nc.publish("x", b"x" * connection.nc.max_payload, headers={"A": "B"})
        await asyncio.wait_for(connection.closed.wait(), GUARD_S)
        with pytest.raises(NotConnected):
            await connection.established()


async def test_what_was_sent_last_is_sent(nats_url: str, raw: Client) -> None:
    got = asyncio.Event()

    async def on_message(_: Msg) -> None:
        got.set()

    subject = raw.new_inbox()
    await raw.subscribe(subject, cb=on_message)
    await settled(raw)
    async with connected(nats_url, name="test", within_s=GUARD_S) as connection:
        await connection.nc.publish(subject, b"x" * 1_000_000)
    await asyncio.wait_for(got.wait(), GUARD_S)


async def test_replies_go_where_permissions_ask(nats_url: str) -> None:
    async with connected(nats_url, name="test", within_s=GUARD_S, inbox_prefix="_MINE.x") as connection:
        assert connection.nc.new_inbox().startswith("_MINE.x.")
