"""Nodes that answer for their status only."""

from __future__ import annotations

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.heartbeat import Heartbeat, encode_heartbeat
from antiphon.run import Timing
from antiphon.subjects import Subjects
from tests.antiphon.scripted_node import MODEL, settled

SHORT = Timing(settle_s=0.1, status_s=0.1)


async def answer_status(raw: Client, subjects: Subjects, *nodes: str, asked: list[Msg] | None = None) -> None:
    """Answer status requests for these nodes."""

    async def on_status(msg: Msg) -> None:
        if asked is not None:
            asked.append(msg)
        for name in nodes:
            beat = Heartbeat(name, name, 1.0, 1, MODEL, "ready", slots=2, idle=1, busy=1, interval_s=60.0)
            await raw.publish(msg.reply, encode_heartbeat(beat))

    await raw.subscribe(subjects.status, cb=on_status)
    await settled(raw)
