"""Ports to listen on."""

from __future__ import annotations

import socket

import click
import pytest

from antiphon.cli import ports


def test_a_kept_port_is_given_to_nobody_else_but_may_be_listened_on() -> None:
    with ports.kept("127.0.0.1", 0) as port:
        ports.check("127.0.0.1", port, "The gateway")
        with socket.socket() as careless, pytest.raises(OSError, match="in use"):
            careless.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            assert ports.free_or_any("127.0.0.1", port) == ports.ANY


def test_a_port_on_all_addresses_is_taken_on_each() -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(click.ClickException, match=r"NATS cannot listen on 127\.0\.0\.1:"):
            ports.check("127.0.0.1", port, "NATS")


def test_an_address_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(click.ClickException, match=r"cannot listen on 192\.0\.2\.1:8080: .*\.$"):
        ports.check("192.0.2.1", 8080, "The gateway")
