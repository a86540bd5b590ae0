"""A peer for `throughput`: one aiohttp server that answers POST /tts itself, with no node behind it."""

from __future__ import annotations

import sys

import uvloop
from aiohttp import web

from bench.engine import ANSWER_BYTES, mp3


async def _tts(request: web.Request) -> web.Response:
    await request.json()
    return web.Response(body=mp3(ANSWER_BYTES), content_type="audio/mpeg")


def main(port: int) -> None:
    """Serve on a port of the loopback until SIGTERM."""
    uvloop.install()
    app = web.Application()
    app.router.add_post("/tts", _tts)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
