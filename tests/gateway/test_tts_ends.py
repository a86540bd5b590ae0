"""POST /tts that is refused, given up or broken, and what is left behind: nothing."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError

from antiphon.client import connect
from antiphon.subjects import Subjects
from tests.conftest import StartNode
from tests.gateway.conftest import Gateway, GatewayFactory
from tests.gateway.support_tts import count_is, error_of, post


def raw_post(values: dict[str, Any], version: str = "1.1") -> bytes:
    body = json.dumps(values).encode()
    head = f"POST /tts HTTP/{version}\r\nHost: test\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize("stream", [False, True])
async def test_an_unknown_voice_is_refused_before_any_audio(
    speaking: GatewayFactory, *, stream: bool
) -> None:
    async with speaking() as gateway:
        status, _, body = await post(gateway, {"text": "hi", "voice": "nobody", "stream": stream})
        assert (status, error_of(body)["code"], error_of(body)["param"]) == (400, "unknown_voice", "voice")


async def test_a_model_without_nodes_is_named_at_once(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        status, headers, body = await post(gateway, {"text": "hi", "model": "nobody"})
        assert (status, error_of(body)["code"], error_of(body)["param"]) == (503, "no_nodes", "model")
        assert int(headers["Retry-After"]) >= 1


async def test_waiting_is_bounded(speaking: GatewayFactory, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    busy = {"text": f"until {gate}", "model": "scripted", "stream": True}
    async with speaking(wait_s=0.1) as gateway, gateway.http.post("/tts", json=busy) as reply:
        assert reply.status == 200
        status, headers, body = await post(gateway, {"text": "hi", "model": "scripted"})
        assert (status, error_of(body)["code"]) == (503, "all_slots_busy")
        assert int(headers["Retry-After"]) >= 1
        gate.touch()
        await reply.read()


async def test_the_queue_is_bounded(speaking: GatewayFactory, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    busy = {"text": f"until {gate}", "model": "scripted", "stream": True}
    async with speaking(max_waiting=0) as gateway, gateway.http.post("/tts", json=busy) as reply:
        status, headers, body = await post(gateway, {"text": "hi", "model": "scripted"})
        assert (status, error_of(body)["code"]) == (503, "queue_full")
        assert int(headers["Retry-After"]) >= 1
        gate.touch()
        await reply.read()


async def test_the_whole_time_is_bounded(speaking: GatewayFactory, tmp_path: Path) -> None:
    async with speaking(timeout_s=0.5) as gateway:
        status, _, body = await post(gateway, {"text": f"until {tmp_path / 'never'}", "model": "scripted"})
        assert (status, error_of(body)["code"]) == (504, "deadline_exceeded")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_its_slot(
    speaking: GatewayFactory, tmp_path: Path, *, stream: bool
) -> None:
    endless = {"text": f"until {tmp_path / 'never'}", "model": "scripted", "stream": stream}
    async with speaking() as gateway, asyncio.timeout(20):
        reader, writer = await gateway.connect()
        writer.write(raw_post(endless))
        if stream:
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
        else:
            await busy_slots(gateway, "scripted", 1)
        writer.close()
        status, _, _ = await post(gateway, {"text": "next", "model": "scripted"})
        assert status == 200


async def test_a_client_that_leaves_waits_no_longer(speaking: GatewayFactory, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    busy = {"text": f"until {gate}", "model": "scripted", "stream": True}
    async with speaking() as gateway, asyncio.timeout(20), gateway.http.post("/tts", json=busy) as reply:
        _, writer = await gateway.connect()
        writer.write(raw_post({"text": "later", "model": "scripted"}))
        await count_is(gateway, 1)
        async with gateway.http.get("/check_tts_status") as status:
            values = await status.json()
        assert (values["waiting"], values["models"]["scripted"]["waiting"]) == (1, 1)
        writer.close()
        await count_is(gateway, 0)
        gate.touch()
        await reply.read()


async def test_an_engine_that_fails_is_an_error_or_a_broken_stream(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        status, headers, body = await post(gateway, {"text": "fail", "model": "scripted"})
        assert (status, error_of(body)["code"]) == (500, "engine_failed")
        assert headers["X-Should-Retry"] == "false"
        async with gateway.http.post(
            "/tts", json={"text": "fail", "model": "scripted", "stream": True}
        ) as reply:
            assert reply.status == 200
            with pytest.raises((ClientPayloadError, ConnectionResetError)):
                await reply.read()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_broken_stream_is_reset_and_never_ends_in_order(
    speaking: GatewayFactory, version: str
) -> None:
    async with speaking() as gateway:
        reply = await gateway.raw(raw_post({"text": "fail", "model": "scripted", "stream": True}, version))
        assert reply.reset
        assert not reply.body.endswith(b"0\r\n\r\n")


@pytest.mark.parametrize("format", ["mp3", "flac"])
async def test_a_node_that_dies_delays_an_answer_and_breaks_a_stream_that_nobody_can_continue(
    gateway_at: GatewayFactory,
    start_node: StartNode,
    nats_url: str,
    subjects: Subjects,
    tmp_path: Path,
    format: str,
) -> None:
    engine = f"{Path(__file__).parent / 'scripted.py'}:Scripted"
    gate = tmp_path / "gate"
    values = {"text": f"until {gate}", "model": "scripted", "format": format}
    async with (
        asyncio.timeout(40),
        connect(nats_url, subjects=subjects) as client,
        gateway_at() as gateway,
    ):
        gateway.link.set(client)
        node = await start_node(engine=engine, model="scripted", slots=2)
        while not client.can_speak():
            await client.status()
        async with gateway.http.post("/tts", json={**values, "stream": True}) as reply:
            assert reply.status == 200
            whole = asyncio.create_task(post(gateway, values))
            await busy_slots(gateway, "scripted", 2)
            node.send_signal(signal.SIGKILL)
            gate.touch()
            if format == "flac":
                with pytest.raises((ClientPayloadError, ConnectionResetError)):
                    await reply.read()
            await start_node(engine=engine, model="scripted", slots=2)
            if format == "mp3":
                assert await reply.read()
        assert (await whole)[0] == 200


async def busy_slots(gateway: Gateway, model: str, n: int) -> None:
    busy = -1
    while busy != n:
        async with gateway.http.get("/check_tts_status") as reply:
            busy = (await reply.json())["models"].get(model, {}).get("busy")
