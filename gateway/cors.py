"""CORS: which web pages may use the gateway from a browser. Source: https://fetch.spec.whatwg.org."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from antiphon.request import AUDIO_MS, ID, NODE, SYNTHESIS_MS
from gateway.http_errors import REQUEST_ID_HEADER, Handler
from gateway.streaming import MODEL

EVERYWHERE: Final = "*"
MAX_AGE_S: Final = 7200
"""How long a browser may remember what a preflight said; Chrome takes no more."""
_EXPOSED: Final = ", ".join(
    [
        *(REQUEST_ID_HEADER, "Retry-After", "Retry-After-Ms", "X-Should-Retry"),
        *(ID, NODE, MODEL, AUDIO_MS, SYNTHESIS_MS),
    ]
)


def parse_origins(text: str) -> frozenset[str]:
    """Read `*`, origins with commas between them, or nothing: no page of another origin.

    Raises:
        ValueError: something is no origin.
    """
    origins = frozenset(part.strip() for part in text.split(",") if part.strip())
    for origin in origins - {EVERYWHERE}:
        url = urlsplit(origin)
        if not url.netloc or f"{url.scheme}://{url.netloc}" != origin:
            raise ValueError(f"{origin[:80]!r} is no origin, such as https://example.org, without a path")
    return origins


class Cors:
    """Answers the questions of browsers. origins: what parse_origins returns."""

    def __init__(self, origins: Collection[str]) -> None:
        self._origins = origins

    def allows(self, origin: str) -> bool:
        """Tell whether pages of this origin may use the gateway."""
        return EVERYWHERE in self._origins or origin in self._origins

    async def sign(self, request: web.Request, response: web.StreamResponse) -> None:
        """Tell the browser that the page may read this reply, an error as well."""
        if not self._origins:
            return
        origin = request.headers.get(hdrs.ORIGIN, "")
        if EVERYWHERE in self._origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = EVERYWHERE
        else:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
            if origin not in self._origins:
                return
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = _EXPOSED

    def preflight(self, request: web.Request, methods: str) -> dict[str, str]:
        """Return what a browser asks for before it sends the request itself."""
        if not self.allows(request.headers.get(hdrs.ORIGIN, "")):
            return {}
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS)
        return {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: methods,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: wanted or f"{hdrs.AUTHORIZATION}, {hdrs.CONTENT_TYPE}",
            hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_S),
            hdrs.VARY: hdrs.ACCESS_CONTROL_REQUEST_HEADERS,
        }

    @web.middleware
    async def answer_options(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer OPTIONS on every path that there is, without a key: browsers send none then."""
        mismatch = request.match_info.http_exception
        if request.method != hdrs.METH_OPTIONS or not isinstance(mismatch, web.HTTPMethodNotAllowed):
            return await handler(request)
        methods = ", ".join(sorted({*mismatch.allowed_methods, hdrs.METH_OPTIONS}))
        return web.Response(status=204, headers={hdrs.ALLOW: methods, **self.preflight(request, methods)})
