"""python -m gateway as a process."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import ClientConnectionError, ClientPayloadError, ClientSession

from antiphon.client import TtsClient
from antiphon.errors import NotConnected
from gateway.__main__ import keep_connected
from gateway.config import GatewaySettings
from gateway.link import Link

if TYPE_CHECKING:
    from tests.gateway.conftest import Group, Process, StartGateway

GUARD_S = 20.0


async def connect_to(gateway: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = gateway.url.removeprefix("http://").rpartition(":")
    return await asyncio.open_connection(host, int(port))


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"GATEWAY_PROT": "1"}, "GATEWAY_PROT is no setting of this process; did you mean GATEWAY_PORT?"),
        ({"GATEWAY_PORT": "http"}, "GATEWAY_PORT should be a valid integer"),
        ({"NATS_URL_FILE": "/nowhere/at/all"}, "NATS_URL_FILE: "),
    ],
)
async def test_a_bad_setting_is_one_sentence_and_status_2(
    start_gateway: StartGateway, environment: dict[str, str], sentence: str
) -> None:
    async with start_gateway(**environment) as gateway:
        status, log = await gateway.ended()
        assert status == 2
        assert log.splitlines()[-1].startswith(sentence)


async def test_a_port_in_use_is_one_sentence_and_status_1(start_gateway: StartGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with start_gateway(GATEWAY_PORT=str(port)) as gateway:
            status, log = await gateway.ended()
            assert (status, log.splitlines()) == (
                1,
                [f"127.0.0.1:{port} is in use: set GATEWAY_PORT to another port"],
            )


async def test_http_is_answered_before_nats_is_reached(start_gateway: StartGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"nats://secret@127.0.0.1:{silent.getsockname()[1]}"
        async with start_gateway(NATS_URL=url) as gateway:
            address = str((await gateway.until_logged("listening"))["url"])
            async with ClientSession(address) as http:
                async with http.get("/healthz") as reply:
                    assert reply.status == 200
                async with http.get("/readyz") as reply:
                    assert (reply.status, (await reply.json())["error"]["code"]) == (503, "not_connected")
            gateway.process.terminate()
            status, log = await gateway.ended()
            assert status == 0
            assert "secret" not in log


async def test_sigterm_lets_what_runs_finish(serving: StartGateway, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    values = {"text": f"until {gate}", "model": "scripted", "stream": True}
    async with serving() as gateway, ClientSession(gateway.url) as http, asyncio.timeout(GUARD_S):
        async with http.post("/tts", json=values) as reply:
            assert reply.status == 200
            gateway.process.terminate()
            await gateway.until_logged("draining")
            gate.touch()
            assert await reply.read()
        status, log = await gateway.ended()
        assert status == 0
        assert json.loads(log.splitlines()[-1])["event"] == "stopped"
        with pytest.raises(ClientConnectionError):
            await http.get("/healthz")


async def test_the_grace_ends_and_what_runs_is_cancelled(serving: StartGateway, tmp_path: Path) -> None:
    endless = {"text": f"until {tmp_path / 'never'}", "model": "scripted", "stream": True}
    async with (
        asyncio.timeout(GUARD_S),
        serving(GATEWAY_GRACE_S="0.2") as gateway,
        ClientSession(gateway.url) as http,
        http.post("/tts", json=endless) as reply,
    ):
        assert reply.status == 200
        gateway.process.terminate()
        assert (await gateway.ended())[0] == 0
        with pytest.raises((ClientPayloadError, ClientConnectionError)):
            await reply.read()
    async with (
        asyncio.timeout(GUARD_S),
        serving() as gateway,
        ClientSession(gateway.url) as http,
        http.post("/tts", json={"text": "next", "model": "scripted"}) as reply,
    ):
        assert reply.status == 200


async def test_a_broken_stream_is_reset(serving: StartGateway) -> None:
    body = b'{"text": "fail", "model": "scripted", "stream": true}'
    head = b"POST /tts HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with serving() as gateway, asyncio.timeout(GUARD_S):
        reader, writer = await connect_to(gateway)
        writer.write(head + body)
        assert (await reader.readline()).startswith(b"HTTP/1.0 200")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_connections_over_the_limit_are_refused(serving: StartGateway) -> None:
    async with serving(GATEWAY_MAX_CONNECTIONS="1") as gateway, asyncio.timeout(GUARD_S):
        first_reader, first = await connect_to(gateway)
        first.write(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await first_reader.readline()).startswith(b"HTTP/1.1 200")
        second_reader, second = await connect_to(gateway)
        second.write(b"GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n")
        assert (await second_reader.read()).startswith(b"HTTP/1.1 503")
        for writer in (first, second):
            writer.close()


async def test_a_second_signal_ends_it_at_once(serving: StartGateway, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    endless = {"text": f"until {gate}", "model": "scripted", "stream": True}
    async with (
        serving() as gateway,
        ClientSession(gateway.url) as http,
        http.post("/tts", json=endless) as reply,
    ):
        assert reply.status == 200
        gateway.process.terminate()
        await gateway.until_logged("draining")
        gateway.process.send_signal(signal.SIGINT)
        assert (await gateway.ended())[0] == 128 + signal.SIGINT
    gate.touch()


async def test_a_client_s_text_is_never_logged(serving: StartGateway) -> None:
    async with serving(GATEWAY_ACCESS_LOG="true", LOG_LEVEL="debug") as gateway:
        async with ClientSession(gateway.url) as http:
            for values in (
                {"text": "open sesame", "model": "tone"},
                {"text": "fail open sesame", "model": "scripted"},
            ):
                async with http.post(
                    "/tts?text=sesame", json=values, headers={"X-Request-Id": "me"}
                ) as reply:
                    await reply.read()
        answered = await gateway.until_logged("answered")
        assert (answered["path"], answered["status"], answered["request_id"]) == ("/tts", 200, "me")
        gateway.process.terminate()
        _, log = await gateway.ended()
        assert "sesame" not in log
        assert "engine_failed" in log


class NotedLink(Link):
    """A link that tells when it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.was_set = asyncio.Event()

    def set(self, client: TtsClient | None) -> None:
        super().set(client)
        self.was_set.set()


async def test_a_connection_that_is_closed_for_good_ends_the_process(
    monkeypatch: pytest.MonkeyPatch, group: Group
) -> None:
    monkeypatch.setenv("NATS_URL", group.nats_url)
    link = NotedLink()
    keeping = asyncio.create_task(keep_connected(link, GatewaySettings()))
    async with asyncio.timeout(GUARD_S):
        await link.was_set.wait()
        await link.client.connection.nc.close()
        with pytest.raises(NotConnected, match="closed for good"):
            await keeping
    with pytest.raises(NotConnected):
        _ = link.client
