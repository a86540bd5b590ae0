from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from gateway.config import GatewaySettings
from gateway.server import CannotListen, listening

if TYPE_CHECKING:
    from tests.gateway.conftest import GatewayFactory

HOST = b"Host: test\r\n"
POST = b"POST /tts HTTP/1.1\r\n" + HOST + b"Content-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "not_found"),
        ("POST", "/", 404, "not_found"),
        ("DELETE", "/tts/", 404, "not_found"),
        ("GET", "/tts/%00%ff", 404, "not_found"),
        ("GET", "/v1/readyz", 404, "not_found"),
        ("GET", "/tts", 405, "method_not_allowed"),
        ("PUT", "/tts", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/test", 404, "not_found"),
        ("GET", "/v1/test", 404, "not_found"),
        ("GET", "/v1/audio/speech", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/audio/voices", 503, "not_connected"),
        ("POST", "/count", 405, "method_not_allowed"),
        ("POST", "/check_tts_status", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
        ("PATCH", "/readyz", 405, "method_not_allowed"),
        ("GET", "/count", 503, "not_connected"),
        ("GET", "/check_tts_status", 503, "not_connected"),
        ("GET", "/readyz", 503, "not_connected"),
        ("POST", "/tts", 415, "unsupported_media_type"),
    ],
)
async def test_every_path_and_method_has_the_one_error_shape(
    gateway_at: GatewayFactory, method: str, path: str, status: int, code: str
) -> None:
    async with gateway_at() as gateway, gateway.http.request(method, path) as reply:
        error = (await reply.json())["error"]
        assert (reply.status, error["code"]) == (status, code)
        assert error.keys() == {"message", "type", "param", "code"}
        assert reply.content_type == "application/json"
        assert len(reply.headers["X-Request-Id"]) == 32
        assert ("Allow" in reply.headers) == (status == 405)
        assert ("Retry-After" in reply.headers) == (status == 503)


async def test_allow_lists_the_methods(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        async with gateway.http.get("/tts") as reply:
            assert reply.headers["Allow"] == "POST"
        async with gateway.http.post("/count") as reply:
            assert reply.headers["Allow"] == "GET, HEAD"


async def test_head_is_get_without_a_body(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        for path, status in (("/healthz", 200), ("/readyz", 503), ("/nowhere", 404), ("/tts", 405)):
            async with gateway.http.head(path) as reply:
                assert (reply.status, await reply.read()) == (status, b"")


async def test_the_process_is_healthy_without_nats(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway, gateway.http.get("/healthz") as reply:
        assert (reply.status, await reply.json()) == (200, {"status": "ok"})
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Server"] == "antiphon"


async def test_a_sane_request_id_comes_back(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        for given in ("a", "01HX:req/7+b=@c_d-e.f", "x" * 128):
            async with gateway.http.get("/nowhere", headers={"X-Request-Id": given}) as reply:
                assert reply.headers["X-Request-Id"] == given


async def test_a_strange_request_id_is_replaced(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        for given in ("", "x" * 129, "a b", '"><script>', "\u00e9"):
            async with gateway.http.get("/nowhere", headers={"X-Request-Id": given}) as reply:
                assert len(reply.headers["X-Request-Id"]) == 32


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code", "param"),
    [
        ("{", "application/json", 400, "invalid_request", None),
        ("[]", "application/json", 400, "invalid_request", None),
        ("{}", "application/json", 400, "invalid_request", "text"),
        ('{"text": "\\ud800"}', "application/json", 400, "invalid_request", "text"),
        ('{"text": "a", "speed": NaN}', "application/json", 400, "invalid_request", "speed"),
        ('{"text": "a", "speed": 1e999}', "application/json", 400, "invalid_request", "speed"),
        ("[" * 50_000, "application/json", 400, "invalid_request", None),
        ('{"text": "' + "x" * 101 + '"}', "application/json", 400, "text_too_long", "text"),
        ("text=a", "application/x-www-form-urlencoded", 415, "unsupported_media_type", None),
        ("<text/>", "application/xml", 415, "unsupported_media_type", None),
        ("x" * 70_000, "text/plain", 413, "body_too_large", None),
        ("hello", "text/plain", 503, "not_connected", None),
    ],
)
async def test_a_bad_body_is_a_clean_error(
    gateway_at: GatewayFactory, body: str, content_type: str, status: int, code: str, param: str | None
) -> None:
    async with (
        gateway_at(max_text_characters=100, max_body_bytes=65_536) as gateway,
        gateway.http.post("/tts", data=body.encode(), headers={"Content-Type": content_type}) as reply,
    ):
        error = (await reply.json())["error"]
        assert (reply.status, error["code"], error["param"]) == (status, code, param)


async def test_a_chunked_body_over_the_limit_is_refused(gateway_at: GatewayFactory) -> None:
    async with gateway_at(max_body_bytes=1000, body_timeout_s=0.2) as gateway:
        request = POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n"
        reply = await gateway.raw(request)
        assert (reply.status, reply.error["code"]) == (413, "body_too_large")


async def test_a_compressed_body_is_refused(gateway_at: GatewayFactory) -> None:
    headers = {"Content-Encoding": "gzip"}
    async with gateway_at() as gateway, gateway.http.post("/tts", data=b"\x1f", headers=headers) as reply:
        assert reply.status == 415


async def test_a_body_that_stalls_is_cut_off(gateway_at: GatewayFactory) -> None:
    async with gateway_at(body_timeout_s=0.1) as gateway:
        reply = await gateway.raw(POST + b"Content-Length: 10\r\n\r\nhalf")
        assert (reply.status, reply.error["code"]) == (408, "body_timeout")
        assert reply.headers["connection"] == "close"


@pytest.mark.parametrize("request_head", [b"", b"GET /healthz HTTP/1.1\r\nHost: te", b"POST"])
async def test_a_head_that_stalls_is_cut_off(gateway_at: GatewayFactory, request_head: bytes) -> None:
    async with gateway_at(keepalive_s=0.1) as gateway:
        assert (await gateway.raw(request_head)).status == 0


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "malformed_http"),
        (b"hello\r\n\r\n", 400, "malformed_http"),
        (b"GET / HTTP/7.3\r\n\r\n", 400, "malformed_http"),
        (b"BREW /tts HTTP/1.1\r\n\r\n", 400, "malformed_http"),
        (b"GET /tts HTTP/1.1\r\nno colon\r\n\r\n", 400, "malformed_http"),
        (POST + b"Content-Length: -1\r\n\r\n", 400, "malformed_http"),
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 400, "malformed_http"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc", 400, "malformed_http"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 431, "head_too_large"),
        (b"GET /tts HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 431, "head_too_large"),
    ],
)
async def test_bytes_that_are_no_http_have_the_one_error_shape(
    gateway_at: GatewayFactory, request_bytes: bytes, status: int, code: str
) -> None:
    async with gateway_at() as gateway:
        reply = await gateway.raw(request_bytes)
        assert (reply.status, reply.error["code"]) == (status, code)
        assert reply.headers["content-type"] == "application/json"
        assert len(reply.headers["x-request-id"]) == 32
        assert reply.headers["server"] == "antiphon"


async def test_a_chunk_that_breaks_later_is_cut_off(gateway_at: GatewayFactory) -> None:
    async with gateway_at(body_timeout_s=0.1) as gateway:
        reader, writer = await gateway.connect()
        writer.write(POST + b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"zz\r\n")
        reply = await gateway.read(reader)
        writer.close()
        assert (reply.status, reply.error["code"]) == (408, "body_timeout")


async def test_an_unknown_expectation_is_let_pass(gateway_at: GatewayFactory) -> None:
    async with gateway_at(keepalive_s=0.1) as gateway:
        reply = await gateway.raw(POST + b"Expect: wonders\r\nContent-Length: 2\r\n\r\nhi")
        assert (reply.status, reply.error["code"]) == (503, "not_connected")


async def test_connections_over_the_limit_are_refused_with_503(gateway_at: GatewayFactory) -> None:
    async with gateway_at(max_connections=2) as gateway:
        open_connections = [await gateway.connect() for _ in range(2)]
        reply = await gateway.raw(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (reply.status, reply.error["code"]) == (503, "too_many_connections")
        assert not reply.reset
        assert (reply.headers["retry-after"], len(reply.headers["x-request-id"])) == ("1", 32)
        for reader, writer in open_connections:
            writer.write(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n")
            assert (await gateway.read(reader)).status == 200
            writer.close()
        async with gateway.http.get("/healthz") as reply_after:
            assert reply_after.status == 200


async def test_an_unexpected_error_is_a_500_and_logged_once(
    gateway_at: GatewayFactory, caplog: pytest.LogCaptureFixture
) -> None:
    async with gateway_at() as gateway:
        gateway.link.set(object())  # type: ignore[arg-type]
        async with gateway.http.get("/count") as reply:
            error = (await reply.json())["error"]
            assert (reply.status, error["code"], error["type"]) == (500, "internal", "server_error")
            assert "AttributeError" not in json.dumps(error)


async def test_a_port_in_use_is_one_sentence(gateway_at: GatewayFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port} is in use"):
            async with gateway_at(port=port):
                pass


async def test_drain_closes_idle_connections_and_stops_listening(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        async with gateway.http.get("/healthz") as reply:
            assert reply.status == 200
        reader, writer = await gateway.connect()
        async with asyncio.timeout(5):
            await gateway.server.drain()
            assert await reader.read() == b""
        writer.close()
        with pytest.raises(OSError, match=r"refused|Connect"):
            await gateway.connect()


async def test_a_client_that_never_reads_is_cut_off() -> None:
    answered = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        answered.set()
        return web.Response(body=bytes(32 * 1024 * 1024))

    app = web.Application()
    app.router.add_get("/", answer)
    settings = GatewaySettings(port=0, send_timeout_s=0.2, grace_s=30)
    loop = asyncio.get_running_loop()
    async with listening(app, settings) as server:
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            await answered.wait()
            begin = loop.time()
            await server.drain()  # waits for the connection to be closed
            assert loop.time() - begin < 15
