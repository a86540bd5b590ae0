"""A node without a node: a raw NATS client that speaks the protocol as the test says."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.events import Accepted, AudioChunk, End, Failure, encode_event
from antiphon.feedback import decode_cancel, decode_credit
from antiphon.heartbeat import Heartbeat, encode_heartbeat
from antiphon.request import decode_request
from antiphon.subjects import Subjects, service

GUARD_S: Final = 10.0
"""Bound on every wait of a test: against hanging, far above what is expected."""
MODEL: Final = "m"


class ScriptedNode:
    """One slot at a time, armed, announced and answered as the test says.

    cancels: runs that callers cancelled. credits: what they granted. pings: asked whether it lives.
    """

    def __init__(self, nc: Client, subjects: Subjects) -> None:
        self.nc = nc
        self.id = f"scripted-{secrets.token_hex(4)}"
        self.requests: asyncio.Queue[Msg] = asyncio.Queue()
        self.cancels: asyncio.Queue[str] = asyncio.Queue()
        self.credits: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self.pings: asyncio.Queue[Msg] = asyncio.Queue()
        self._subjects = subjects
        self._seq = 0
        self._inbox = nc.new_inbox()

    async def listen(self, *, lives: bool = True) -> None:
        """Hear cancels and credits, and be there to be pinged, if it `lives`."""

        async def on_cancel(msg: Msg) -> None:
            self.cancels.put_nowait(decode_cancel(msg.data).run)

        async def on_credit(msg: Msg) -> None:
            credit = decode_credit(msg.data)
            self.credits.put_nowait((credit.run, credit.bytes))

        async def on_ping(msg: Msg) -> None:
            self.pings.put_nowait(msg)

        await self.nc.subscribe(self._subjects.cancel(self.id), cb=on_cancel)
        await self.nc.subscribe(f"{self._inbox}.*", cb=on_cancel)
        await self.nc.subscribe(self._subjects.credit(self.id), cb=on_credit)
        if lives:
            await self.nc.subscribe(service("PING", self.id), cb=on_ping)
        await settled(self.nc)

    async def beat(self, **changes: Any) -> int:
        """Send a heartbeat that lasts for the whole test; return its number."""
        self._seq += 1
        values: dict[str, Any] = {"model": MODEL, "state": "ready", "slots": 1, "idle": 1, "busy": 0}
        values.update(interval_s=60.0, **changes)
        beat = Heartbeat(self.id, self.id, 1.0, self._seq, **values)
        await self.nc.publish(self._subjects.heartbeat(beat.model, self.id), encode_heartbeat(beat))
        await settled(self.nc)
        return self._seq

    async def arm(self, *, announce: bool = False) -> None:
        """Join the queue group for one request."""

        async def on_request(msg: Msg) -> None:
            self.requests.put_nowait(msg)

        membership = await self.nc.subscribe(self._subjects.synth(MODEL), queue="synth", cb=on_request)
        await membership.unsubscribe(limit=1)
        if announce:
            await self.announce()
        await settled(self.nc)

    async def announce(self) -> None:
        """Wake one caller."""
        await self.nc.publish(self._subjects.free(MODEL))

    async def request(self) -> Msg:
        """Return the next request."""
        return await asyncio.wait_for(self.requests.get(), GUARD_S)

    async def send(self, msg: Msg, run: str, *events: Any) -> None:
        """Send events of a run to the caller of a request."""
        for event in events:
            await self.nc.publish(msg.reply, encode_event(run, event), reply=f"{self._inbox}.{run}")
        await settled(self.nc)

    async def accept(self, msg: Msg, *, model: str | None = None) -> str:
        """Take a request; return the run."""
        run = secrets.token_hex(4)
        await self.send(msg, run, Accepted(self.id, 0, model))
        return run

    async def finish(self, msg: Msg, run: str, audio: bytes | None = None) -> None:
        """Send the whole audio, which is the request's text unless given."""
        data = text_of(msg).encode() if audio is None else audio
        stats = {"n": 1, "bytes": len(data), "audio_ms": 1, "synthesis_ms": 1}
        await self.send(msg, run, AudioChunk(0, data), End(stats))

    async def answer(self) -> str:
        """Serve the next request; return its text."""
        msg = await self.request()
        await self.finish(msg, await self.accept(msg))
        return text_of(msg)

    async def serve(self) -> str:
        """Become free, and serve one request; return its text."""
        await self.arm(announce=True)
        return await self.answer()

    async def refuse(self, code: str, *, param: str | None = None) -> Msg:
        """Answer the next request with a failure before it became a run."""
        msg = await self.request()
        await self.send(msg, "none", Failure(code, f"because of {code}", param))
        return msg


async def settled(nc: Client) -> None:
    """Return when the server has handled all that was sent; one flush of nats-py may overtake it."""
    await nc.flush()
    await nc.flush()


def text_of(msg: Msg) -> str:
    """Return what a request wants spoken."""
    return decode_request(msg.data).text


async def soon(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; for state that has no event of its own."""
    try:
        async with asyncio.timeout(GUARD_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None
