"""Asking for speech, and looking at the gateway's counts."""

from __future__ import annotations

import json
from typing import Any

from tests.gateway.conftest import Gateway


async def post(gateway: Gateway, values: dict[str, Any], **headers: str) -> tuple[int, Any, bytes]:
    """Return status, headers and body of the answer to a request for speech."""
    async with gateway.http.post("/tts", json=values, headers=headers) as reply:
        return reply.status, reply.headers, await reply.read()


def error_of(body: bytes) -> dict[str, Any]:
    """Return the error in a body."""
    return dict(json.loads(body)["error"])


async def count_is(gateway: Gateway, n: int) -> None:
    """Return when so many requests wait."""
    count = ""
    while count != str(n):
        async with gateway.http.get("/count") as reply:
            count = await reply.text()
