"""The NATS servers of a group, as their addresses are written; what is shown of one holds no credentials."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

DEFAULT_SERVER: Final = "nats://127.0.0.1:4222"
_PORTS: Final = {"nats": 4222, "tls": 4222, "ws": 80, "wss": 443}


def server_list(servers: str | Sequence[str]) -> list[str]:
    """Return the server URLs of a comma list or a sequence, in order.

    Raises:
        ValueError: there are none, or one is no address of a NATS server; the text holds no credentials.
    """
    parts = servers.split(",") if isinstance(servers, str) else servers
    urls = [url.strip() for url in parts if url.strip()]
    if not urls:
        raise ValueError("no NATS server given")
    for number, url in enumerate(urls, 1):
        try:
            address(url)
        except ValueError:
            # Of a list nothing is shown: a comma within a password makes two of one address.
            shown = redacted(url) if len(urls) == 1 else f"number {number} of the list"
            raise ValueError(f"{shown} is no address of a NATS server") from None
    if len({_is_websocket(url) for url in urls}) > 1:
        raise ValueError("WebSocket servers and others cannot be in one list")
    return urls


def address(url: str) -> tuple[str, int]:
    """Return host and port. Raises ValueError."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    host = parts.hostname or ""
    if not host.strip() or parts.scheme not in _PORTS or not url.isprintable():
        raise ValueError("no address")
    return host, parts.port or _PORTS[parts.scheme]


def _is_websocket(url: str) -> bool:
    return url.startswith(("ws://", "wss://"))


def redacted(url: str) -> str:
    """Return `url` without its credentials, fit for a log."""
    return re.sub(r"^([a-z]+://)?.*@", r"\1", url, flags=re.DOTALL)
