"""The stand-in for Xunfei as a process, and a port that tells what it has seen."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress

import uvloop

from tests.fake_xunfei.apps import App
from tests.fake_xunfei.server import fake_xunfei

APP = App(app_id="benchapp", api_key="0" * 32, api_secret="1" * 32)


async def serve(port: int, told_port: int, service_s: float, pace: float) -> None:
    """Serve until SIGTERM. told_port: each connection gets the counters as JSON and sets the peak back."""
    async with fake_xunfei(port=port, apps=(APP,), service_s=service_s, pace=pace) as fake:

        async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            counters = {"peak": fake.peak, "total": fake.total, "errors": len(fake.errors_sent)}
            fake.peak = fake.open
            writer.write(json.dumps(counters).encode())
            with suppress(OSError):
                await writer.drain()
            writer.close()

        async with await asyncio.start_server(tell, "127.0.0.1", told_port):
            await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:])))
