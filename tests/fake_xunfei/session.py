"""One connection from its first message to its end."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from websockets.asyncio.server import ServerConnection

from tests.fake_xunfei.apps import App
from tests.fake_xunfei.messages import Invalid, Online, Order, Service, SuperHuman, positions
from tests.fake_xunfei.scenarios import Plan, Scenario

if TYPE_CHECKING:
    from tests.fake_xunfei.server import FakeXunfei

MESSAGES: Final = {
    10005: "licc fail",
    10010: "service license not enough",
    10200: "read data timeout",
    11200: "licc failed",
    11201: "licc failed",
    11202: "licc failed",
    11203: "licc failed",
}
_BIG_BYTES: Final = 1_200_000


class Session:
    """One connection from its first message to its end."""

    def __init__(
        self,
        server: FakeXunfei,
        connection: ServerConnection,
        service: Service,
        app: App,
        plan: Plan,
        refused: int | None,
    ) -> None:
        self._server = server
        self._connection = connection
        self._service = service
        self._app = app
        self._plan = plan
        self._refused = refused
        prefix = "tts" if isinstance(service, Online) else "aso"
        self._sid = f"{prefix}{secrets.token_hex(4)}@dx{secrets.token_hex(8)[:15]}002"
        self._n_frames = 0

    async def run(self) -> None:
        """Take the request and answer it."""
        options, scenario = self._server.options, self._plan.scenario
        try:
            async with asyncio.timeout(options.idle_s):
                message = await self._connection.recv()
        except TimeoutError:
            if options.bare_idle_close:
                await self._connection.close(1000, "time out")
            else:
                await self._fail(10200, "read data timeout")
            return
        if scenario is Scenario.ERROR:
            await self._fail(self._plan.code)
            return
        try:
            order = self._service.read(message, self._app)
        except Invalid as exc:
            await self._fail(exc.code, exc.message)
            return
        if self._refused is not None:
            await self._fail(self._refused)
            return
        self._server.orders.append(order)
        if not await self._begins():
            return
        await self._speak(order)

    async def _begins(self) -> bool:
        """Do what comes before the audio; return whether any comes."""
        match self._plan.scenario:
            case Scenario.HANG:
                await self._connection.wait_closed()
            case Scenario.CLOSE_AT_ONCE:
                await self._connection.close(1000, "time out")
            case Scenario.ABORT_AT_ONCE:
                self._connection.transport.abort()
            case Scenario.GARBAGE:
                await self._connection.send("<html>Bad FakeXunfei</html>")
                await self._end()
            case Scenario.NOT_AN_OBJECT:
                await self._connection.send("[1, 2]")
                await self._end()
            case Scenario.BAD_BASE64:
                frame = self._service.frame(b"abc", last=False, at=0, seq=0, sid=self._sid)
                await self._connection.send(json.dumps(frame).replace("YWJj", "Y!"))
                await self._end()
            case Scenario.NO_AUDIO:
                await self._send(b"", last=True, at=0)
                await self._end()
            case _:
                return True
        return False

    async def _speak(self, order: Order) -> None:
        scenario, options = self._plan.scenario, self._server.options
        audio = await self._server.speak(order)
        if scenario is Scenario.NULL_DATA:
            frame = self._service.frame(None, last=False, at=0, seq=0, sid=self._sid)
            await self._write({**frame, "data" if "code" in frame else "payload": None})
        if scenario is Scenario.NO_DATA:
            await self._write(self._service.frame(None, last=False, at=0, seq=0, sid=self._sid))
        pieces = self._pieces(audio.data, order)
        ends = positions(order.text, order.n_bytes)
        pause_s = audio.seconds / options.pace / len(pieces) if options.pace else 0.0
        swaps = scenario is Scenario.OUT_OF_ORDER and isinstance(self._service, SuperHuman)
        frames = []
        for number, piece in enumerate(pieces):
            if number == max(1, len(pieces) // 2) and not await self._goes_on():
                return
            at = ends[number * len(ends) // len(pieces)]
            frames.append((piece, number == len(pieces) - 1, at))
            if not swaps:
                await self._send(*frames.pop()[:1], last=number == len(pieces) - 1, at=at)
                if number < len(pieces) - 1:
                    await asyncio.sleep(pause_s)
        await self._send_out_of_order(frames)
        await self._end()

    def _pieces(self, data: bytes, order: Order) -> list[bytes]:
        scenario, size = self._plan.scenario, self._server.options.piece_bytes
        if scenario is Scenario.ODD_PIECES:
            size = size // 2 * 2 - 1
        if scenario is Scenario.ONE_FRAME or not order.streams:
            size = max(len(data), 1)
        pieces = [data[i : i + size] for i in range(0, len(data), size)] or [b""]
        return [*pieces, b""] if scenario is Scenario.EMPTY_LAST else pieces

    async def _goes_on(self) -> bool:
        """Do what happens in the middle; return whether the rest follows."""
        match self._plan.scenario:
            case Scenario.EARLY_CLOSE:
                await self._connection.close(1000)
            case Scenario.ABORT:
                self._connection.transport.abort()
            case Scenario.HANG_LATER:
                await self._connection.wait_closed()
            case Scenario.ERROR_LATER:
                await self._fail(self._plan.code)
            case _:
                return True
        return False

    async def _send(self, audio: bytes, *, last: bool, at: int, seq: int | None = None) -> None:
        scenario, first = self._plan.scenario, self._n_frames == 0
        if scenario is Scenario.BINARY:
            await self._connection.send(audio)
            audio = b""
        sid = None if scenario is Scenario.SID_ONCE and not first else self._sid
        number = self._n_frames if seq is None else seq
        frame = self._service.frame(audio, last=last, at=at, seq=number, sid=sid)
        self._n_frames += 1
        if scenario is Scenario.UNKNOWN_FIELDS:
            frame |= {"trace": {"of": [1, None]}, "desc": "x"}
            frame.get("data", {})["spell"] = "eA=="
        if scenario is Scenario.BIG_FRAME and first:
            frame["padding"] = "x" * _BIG_BYTES
        await self._write(frame)

    async def _send_out_of_order(self, frames: list[tuple[bytes, bool, int]]) -> None:
        """Send frames by pairs, the later one first; the last frame stays the last."""
        numbers = list(range(len(frames)))
        for i in range(0, len(frames) - 2, 2):
            numbers[i], numbers[i + 1] = numbers[i + 1], numbers[i]
        for number in numbers:
            piece, last, at = frames[number]
            await self._send(piece, last=last, at=at, seq=number)

    async def _write(self, frame: dict[str, Any]) -> None:
        text = json.dumps(frame)
        if self._plan.scenario is Scenario.CONTINUED:
            cuts = [0, 1, len(text) // 3, len(text) // 2, len(text)]
            await self._connection.send([text[a:b] for a, b in pairwise(cuts)])
        else:
            await self._connection.send(text)

    async def _fail(self, code: int, message: str | None = None) -> None:
        text = MESSAGES.get(code, "engine error") if message is None else message
        self._server.errors_sent.append(code)
        await self._write(self._service.error(code, text, self._sid))
        await self._connection.close(1000, "" if isinstance(self._service, Online) else text[:100])

    async def _end(self) -> None:
        """Leave the client its time to close."""
        if self._plan.scenario is Scenario.STAY_OPEN:
            self._connection.transport.pause_reading()
            await asyncio.sleep(self._server.options.close_delay_s)
            self._connection.transport.abort()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._server.options.close_delay_s):
                await self._connection.wait_closed()
        await self._connection.close(1000)
