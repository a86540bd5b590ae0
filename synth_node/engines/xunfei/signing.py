"""How a connection to Xunfei is signed. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
from email.utils import formatdate
from typing import Final
from urllib.parse import urlencode, urlsplit

_SIGNED: Final = "host date request-line"


def signed_url(url: str, *, key: str, secret: str, now: float) -> str:
    """Return `url` with the query that lets a WebSocket in. It is a secret for as long as it is valid.

    url: scheme, host, a port if it is not the usual one, and path. now: Unix time in seconds; the server
    takes it within 300 s of its own.

    Source: online TTS, "interface authentication", at xfyun.cn.
    """
    parts = urlsplit(url)
    date = formatdate(now, usegmt=True)
    signature = sign(secret, signed_text(parts.netloc, date, parts.path))
    query = {"authorization": authorization(key, signature), "date": date, "host": parts.netloc}
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(query)}"


def signed_text(host: str, date: str, path: str, *, method: str = "GET") -> str:
    """Return the three lines that are signed. date: RFC 1123, in GMT. path: without the query."""
    return f"host: {host}\ndate: {date}\n{method} {path} HTTP/1.1"


def sign(secret: str, text: str) -> str:
    """Return the signature in base64, 44 characters. The secret is used as it is, never decoded."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), hashlib.sha256)).decode()


def authorization(key: str, signature: str) -> str:
    """Return the parameter `authorization`, before it is made part of a URL."""
    text = f'api_key="{key}", algorithm="hmac-sha256", headers="{_SIGNED}", signature="{signature}"'
    return base64.b64encode(text.encode()).decode()
