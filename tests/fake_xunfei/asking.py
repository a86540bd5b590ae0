"""A client of the stand-in that knows nothing of the engine."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import GUARD_S
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei

NOW = 1_736_150_950.0  # Mon, 06 Jan 2025 08:09:10 GMT


def signed(fake: FakeXunfei, url: str | None = None, *, at: float = NOW, **changes: str) -> str:
    """Return the URL with the parameters of the handshake; `changes` replace what is signed or sent."""
    parts = urlsplit(url or fake.url)
    host = changes.get("host", parts.netloc)
    date = changes.get("date", formatdate(at, usegmt=True))
    text = f"host: {host}\ndate: {date}\nGET {parts.path} HTTP/1.1"
    secret = changes.get("secret", fake.app.api_secret)
    digest = hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    key = changes.get("key", fake.app.api_key)
    origin = (
        f'api_key="{key}", algorithm="hmac-sha256", headers="host date request-line", '
        f'signature="{base64.b64encode(digest).decode()}"'
    )
    authorization = changes.get("authorization", base64.b64encode(origin.encode()).decode())
    query = {"authorization": authorization, "date": date, "host": host}
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"


def request_of(fake: FakeXunfei, text: str = "hello", **business: Any) -> dict[str, Any]:
    """Return a request for the online service; a value of None is left out."""
    values = {"aue": "raw", "vcn": "xiaoyan", "tte": "UTF8", **business}
    return {
        "common": {"app_id": fake.app.app_id},
        "business": {key: value for key, value in values.items() if value is not None},
        "data": {"status": 2, "text": base64.b64encode(text.encode()).decode()},
    }


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[FakeXunfei]:
    """Run the stand-in, whose clock stands at NOW."""
    async with asyncio.timeout(GUARD_S), fake_xunfei(clock=lambda: NOW, **options) as fake:
        yield fake


@asynccontextmanager
async def joined(fake: FakeXunfei, url: str | None = None) -> AsyncIterator[ClientConnection]:
    """Give a connection that is let in."""
    async with connect(signed(fake, url), max_size=2**24, proxy=None) as connection:
        yield connection


async def frames_of(fake: FakeXunfei, message: Any, url: str | None = None) -> list[Any]:
    """Return what comes until status 2, an error or the end."""
    frames: list[Any] = []
    async with joined(fake, url) as connection:
        await connection.send(message if isinstance(message, str | bytes) else json.dumps(message))
        try:
            async for data in connection:
                frames.append(data if isinstance(data, bytes) else json.loads(data))
                if isinstance(frames[-1], dict) and (frames[-1].get("data") or {}).get("status") == 2:
                    break
        except ConnectionClosed:
            frames.append(None)
    return frames
