"""API keys: who may have something spoken. Without keys everyone may."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

from aiohttp import hdrs, web

from gateway.http_errors import Handler

KEY_PROTOCOL: Final = "openai-insecure-api-key."
"""Browsers cannot set headers on a WebSocket: there the key follows this, as a subprotocol."""


class Keys:
    """The keys that open the gateway, kept as digests: nothing can show what is not there."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = tuple(_digest(key) for key in keys)

    def check(self, request: web.Request) -> None:
        """Return if the request may go on.

        Raises:
            web.HTTPUnauthorized: it brings no key, or none of ours.
        """
        if not self._digests:
            return
        given = key_of(request)
        if not given:
            raise web.HTTPUnauthorized(text="this needs an API key: Authorization: Bearer <key>")
        if not self._opens(given):
            raise web.HTTPUnauthorized(text="this API key is not valid here")

    def protect(self, handler: Handler) -> Handler:
        """Return a handler that checks the key first."""

        async def checked(request: web.Request) -> web.StreamResponse:
            self.check(request)
            return await handler(request)

        return checked

    def _opens(self, key: str) -> bool:
        """Compare with every key, always all of them, in constant time."""
        digest = _digest(key)
        return sum([hmac.compare_digest(digest, known) for known in self._digests]) > 0


def key_of(request: web.Request) -> str:
    """Return the key that a request brings; the empty string is none, and so is an empty Bearer."""
    scheme, _, key = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    offers = (offer for offer in _subprotocols(request) if offer.startswith(KEY_PROTOCOL))
    return next(offers, "").removeprefix(KEY_PROTOCOL)


def subprotocols(request: web.Request) -> tuple[str, ...]:
    """Return the WebSocket subprotocols that a request offers, without the one that is a key.

    A browser that offers any wants one of them back: answer with one of these, never with the key.
    """
    return tuple(offer for offer in _subprotocols(request) if not offer.startswith(KEY_PROTOCOL))


def _subprotocols(request: web.Request) -> list[str]:
    offers = ",".join(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, []))
    return [offer.strip() for offer in offers.split(",") if offer.strip()]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()
