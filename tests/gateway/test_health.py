"""The health check of a gateway's container."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gateway.health import fault


@contextmanager
def _answering(answer: bytes) -> Iterator[int]:
    """Answer one request with these bytes; yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", ""])
def test_a_gateway_that_answers_is_healthy(host: str) -> None:
    with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        assert fault(host, port) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", "status 503"), (b"", "no answer: RemoteDis")],
)
def test_any_other_answer_is_named(answer: bytes, reason: str) -> None:
    with _answering(answer) as port:
        assert str(fault("127.0.0.1", port)).startswith(reason)


def test_the_command_asks_where_the_gateway_listens() -> None:
    with _answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as port:
        environment = os.environ | {"GATEWAY_PORT": str(port), "GATEWAY_HOST": "0.0.0.0"}
        command = [sys.executable, "-m", "gateway.health"]
        assert subprocess.run(command, env=environment, timeout=30, check=False).returncode == 0
    done = subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(b"no answer: ")
