"""A peer for `throughput` and `first_byte`: an aiohttp server that answers itself, with no node behind it."""

from __future__ import annotations

import sys
import time

import uvloop
from aiohttp import web

from bench.engine import ANSWER_BYTES, mp3


async def _tts(request: web.Request) -> web.Response:
    await request.json()
    return web.Response(body=mp3(ANSWER_BYTES), content_type="audio/mpeg")


async def _stamp(request: web.Request) -> web.StreamResponse:
    """Stream the time on the monotonic clock."""
    await request.read()
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(repr(time.monotonic()).encode())
    await response.write_eof()
    return response


def main(port: int) -> None:
    """Serve on a port of the loopback until SIGTERM."""
    uvloop.install()
    app = web.Application()
    app.router.add_post("/tts", _tts)
    app.router.add_post("/stamp", _stamp)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
