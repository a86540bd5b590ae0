"""What `dispatch` is compared with: a plain NATS queue group of workers that take one request at a time."""

from __future__ import annotations

import asyncio
import sys
import time

import nats
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.engine import service_s

SUBJECT = "plain.synth"
QUEUE = "plain"


async def _worker(url: str) -> Client:
    """Join the group: each message in turn, as a subscription's callback does it by itself."""
    nc = await nats.connect(url)

    async def on_request(msg: Msg) -> None:
        until = time.monotonic() + service_s(msg.data.decode())
        await asyncio.sleep(until - time.monotonic())
        await msg.respond(b"audio")

    await nc.subscribe(SUBJECT, queue=QUEUE, cb=on_request)
    await nc.flush()
    return nc


async def _main(url: str, n: int) -> None:
    workers = [await _worker(url) for _ in range(n)]
    await workers[0].subscribe(f"{SUBJECT}.ready", cb=_on_ready)
    await workers[0].flush()
    await asyncio.Event().wait()


async def _on_ready(msg: Msg) -> None:
    await msg.respond(b"")


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], int(sys.argv[2])))
