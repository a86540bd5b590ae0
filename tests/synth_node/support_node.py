"""What a node is heard to say."""

from __future__ import annotations

import asyncio

from nats.aio.msg import Msg

from antiphon.heartbeat import Heartbeat, decode_heartbeat
from tests.synth_node.conftest import GUARD_S, RawCaller


async def heartbeats(raw: RawCaller) -> asyncio.Queue[Heartbeat]:
    """Return a queue of all heartbeats from now on."""
    heard: asyncio.Queue[Heartbeat] = asyncio.Queue()

    async def on_heartbeat(msg: Msg) -> None:
        heard.put_nowait(decode_heartbeat(msg.data))

    await raw.nc.subscribe(raw.subjects.heartbeat_all, cb=on_heartbeat)
    await raw.nc.flush()
    await raw.nc.flush()
    return heard


async def next_beat(heard: asyncio.Queue[Heartbeat], **wanted: object) -> Heartbeat:
    """Return the next heartbeat that has these values."""
    async with asyncio.timeout(GUARD_S):
        while True:
            beat = await heard.get()
            if all(getattr(beat, name) == value for name, value in wanted.items()):
                return beat
