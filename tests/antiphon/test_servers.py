"""Addresses of servers: in order, and never shown with their credentials."""

from __future__ import annotations

import pytest

from antiphon.servers import redacted, server_list


def test_servers_are_a_comma_list_or_a_sequence_in_order() -> None:
    assert server_list("nats://a:1, nats://b:2 ,") == ["nats://a:1", "nats://b:2"]
    assert server_list([" nats://a:1 ", ""]) == ["nats://a:1"]
    for nothing in ("", " , ", [], [""]):
        with pytest.raises(ValueError, match="no NATS server"):
            server_list(nothing)


@pytest.mark.parametrize(
    "url",
    [
        "nats://u:hunter2@host:port",
        "nats://u:hunter2@[::1:4222",
        "u:hunter2@:4222",
        "http://u:hunter2@host",
        "nats://",
        "nats://a,ws://b",
        "nats://u:hunter2,more@host:4222",
        "nats://u:hunter2\nmore@host:4222",
    ],
)
def test_what_is_no_address_is_refused_without_its_credentials(url: str) -> None:
    with pytest.raises(ValueError, match=r"no address|one list") as refused:
        server_list(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://user:hunter2@host:4222", "nats://host:4222"),
        ("nats://token@host:4222", "nats://host:4222"),
        ("tls://user:p@ss/w@rd@host:4222", "tls://host:4222"),
        ("user:hunter2@host:4222", "host:4222"),
        ("token@host", "host"),
        ("host:4222", "host:4222"),
        ("wss://user:hunter2@host/path", "wss://host/path"),
        ("nats://user:hunter2\nmore@host:4222", "nats://host:4222"),
    ],
)
def test_a_url_is_shown_without_its_credentials(url: str, shown: str) -> None:
    assert redacted(url) == shown
