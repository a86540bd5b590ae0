"""The nats-server that `antiphon up` brings along."""

from __future__ import annotations

import asyncio
import io
import socket
from dataclasses import replace
from pathlib import Path

from antiphon.cli import nats_server, ports
from antiphon.cli.console import Console
from antiphon.cli.nats_server import NatsServer
from antiphon.cli.supervisor import supervision


async def test_default_ports_that_are_taken_at_the_last_moment_are_replaced(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        socket.create_server(("127.0.0.1", 0)) as monitor_taken,
    ):
        port, monitor_port = taken.getsockname()[1], monitor_taken.getsockname()[1]
        server = NatsServer("127.0.0.1", port, monitor_port, False, None, tmp_path)
        async with supervision(Console(io.StringIO())) as supervisor:
            found = await nats_server.start(server, supervisor)
            assert found is not None
            assert len({port, monitor_port, found.port, found.monitor_port}) == 4
            for number in (found.port, found.monitor_port):
                _, writer = await asyncio.open_connection("127.0.0.1", number)
                writer.close()
                await writer.wait_closed()
            assert not supervisor.failed.done()


async def test_a_port_that_was_asked_for_is_not_replaced(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = NatsServer("127.0.0.1", port, ports.ANY, True, None, tmp_path)
        async with supervision(Console(io.StringIO())) as supervisor:
            async with asyncio.TaskGroup() as tasks:
                start = tasks.create_task(nats_server.start(server, supervisor))
                async with asyncio.timeout(10):
                    failure = await supervisor.failed
                start.cancel()
            assert f"127.0.0.1:{port}" in str(failure)
            assert "address already in use" in str(failure)


def test_only_the_port_that_is_taken_is_replaced(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, ports.kept("127.0.0.1", 0) as free:
        server = NatsServer("127.0.0.1", free, taken.getsockname()[1], False, None, tmp_path)
        assert server.elsewhere() == replace(server, monitor_port=ports.ANY)
