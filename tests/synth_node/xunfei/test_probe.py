"""The engine's probe: what the handshake tells, at no cost."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import suppress

import pytest

from antiphon.errors import Draining
from synth_node.engines.xunfei.engine import Xunfei
from synth_node.engines.xunfei.faults import Kind
from synth_node.host import EngineUnavailable
from synth_node.network.engine import Unreachable
from synth_node.network.throttle import Throttle
from tests.fake_xunfei.handshake import REFUSALS
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei
from tests.synth_node.conftest import GUARD_S, soon
from tests.synth_node.network.support import until_failed
from tests.synth_node.xunfei.support import settings_for, speaking
from tests.synth_node.xunfei.test_faults import MEANT


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refused_handshake_is_told_by_the_probe(fake: FakeXunfei, name: str) -> None:
    kind, words = MEANT[name]
    fake.next(Scenario.REFUSAL, refusal=name)
    async with Xunfei(settings_for(fake), Throttle(1)) as engine:
        expected = EngineUnavailable if kind is Kind.SETTINGS else Unreachable
        with pytest.raises(expected, match=words):
            await engine.probe()


async def test_a_probe_asks_for_nothing_and_leaves_at_once(fake: FakeXunfei) -> None:
    async with Xunfei(settings_for(fake), Throttle(1)) as engine:
        await engine.probe()
        await soon(lambda: fake.close_codes == [1000], "it has closed")
    assert (fake.total, fake.orders, fake.errors_sent) == (1, [], [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"api_key": "another"}, "XUNFEI_API_KEY is not known"),
        ({"api_secret": "another"}, "XUNFEI_API_SECRET is not the one"),
        ({"url": "/v3/tts"}, "XUNFEI_URL"),
    ],
)
async def test_real_faults_of_the_settings_are_named(
    fake: FakeXunfei, changes: dict[str, str], words: str
) -> None:
    if "url" in changes:
        changes = {"url": fake.url.replace("/v2/tts", changes["url"])}
    async with Xunfei(settings_for(fake, **changes), Throttle(1)) as engine:
        with pytest.raises(EngineUnavailable, match=words):
            await engine.probe()
    async with speaking(fake) as (engine, throttle):
        fake.next(Scenario.REFUSAL, refusal="signature")
        _, failure = await until_failed(engine)
        assert type(failure) is Draining
        assert throttle.paused_for == str(failure)


@pytest.mark.parametrize(("skew_s", "is_let_in"), [(290, True), (1000, False), (-1000, False)])
async def test_a_clock_that_is_wrong_is_said_plainly(skew_s: float, is_let_in: bool) -> None:
    async with (
        fake_xunfei(clock=lambda: time.time() + skew_s) as fake,
        Xunfei(settings_for(fake), Throttle(1)) as engine,
    ):
        if is_let_in:
            await engine.probe()
        else:
            with pytest.raises(EngineUnavailable, match="this machine's clock is wrong"):
                await engine.probe()


async def test_another_apps_id_is_told_by_the_first_request(fake: FakeXunfei) -> None:
    async with speaking(fake, app_id="another") as (engine, throttle):
        _, failure = await until_failed(engine)
        assert "XUNFEI_APP_ID is not the app that XUNFEI_API_KEY belongs to" in str(failure)
        assert throttle.paused_for is not None


async def test_where_nobody_listens_the_probe_says_so_and_waits() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        async with fake_xunfei() as fake:
            settings = settings_for(fake, url=f"ws://127.0.0.1:{port}/v2/tts")
        async with Xunfei(settings, Throttle(1)) as engine:
            with pytest.raises(Unreachable, match=rf"no connection to 127\.0\.0\.1:{port}"):
                await engine.probe()


async def test_a_server_that_never_answers_the_handshake_is_left() -> None:
    left = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        writer.close()
        left.set()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with fake_xunfei() as fake:
        settings = settings_for(fake, url=f"ws://127.0.0.1:{port}/v2/tts", connect_s=0.05)
    async with asyncio.timeout(GUARD_S), Xunfei(settings, Throttle(1)) as engine:
        with pytest.raises(Unreachable, match=r"nothing within 0\.05 s"):
            await engine.probe()
        await left.wait()
    server.close()


async def test_a_server_that_sends_us_on_is_not_followed(fake: FakeXunfei) -> None:
    asked: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 302 Found\r\nLocation: {fake.url}\r\nContent-Length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    server = await asyncio.start_server(redirect, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Xunfei(settings_for(fake, url=f"ws://127.0.0.1:{port}/v2/tts"), Throttle(1)) as engine:
        with pytest.raises(EngineUnavailable, match=r"XUNFEI_URL .*HTTP 302"):
            await engine.probe()
    server.close()
    assert len(asked) == 1
    assert fake.outcomes.total() == 0
