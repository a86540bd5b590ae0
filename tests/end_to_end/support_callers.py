"""The callers of races: each sends one request its own way, and tells what came of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from aiohttp import ClientError, ClientSession
from nats.aio.msg import Msg

from antiphon.client import connect
from antiphon.errors import SpeechError
from antiphon.request import BUDGET_MS, ERROR
from gateway.app import make_app
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.server import listening
from tests.conftest import GUARD_S
from tests.end_to_end.support_engines import MODEL
from tests.end_to_end.support_group import TIMING, Group
from tests.end_to_end.support_proxy import Proxy, proxy

STREAM, WHOLE, PLAIN = "stream", "whole", "plain"
"""The answer comes as it is made; held until it is complete, or as one plain NATS message."""
BUDGET_S: Final = 10.0
"""More than any request here needs, and less than GUARD_S: a lost claim keeps its inbox token so long."""
PROCESS: Final = Path(__file__).with_name("support_caller_process.py")


@dataclass(frozen=True)
class Answer:
    """What came of a request. error: a code, or empty. Neither audio nor an error: nothing came."""

    audio: bytes = b""
    error: str = ""


class Caller(Protocol):
    """One request. proxy: what stands between its process and the server."""

    proxy: Proxy

    async def begin(self) -> None:
        """Send the request, or have it sent."""

    async def answer(self) -> Answer:
        """Wait for what comes of it."""

    async def leave(self) -> None:
        """End it as this kind of caller ends."""


class LibraryCaller:
    """Uses the client in this process; it leaves by cancelling the task."""

    def __init__(self, group: Group, text: str, form: str, budget_s: float = BUDGET_S) -> None:
        self.proxy = group.caller_proxy
        self.text = text
        self._client = group.caller
        self._form = form
        self._budget_s = budget_s
        self._task: asyncio.Task[Answer]

    async def begin(self) -> None:
        self._task = asyncio.create_task(self._speak(), name=f"caller of {self.text}")

    async def _speak(self) -> Answer:
        audio = b""
        try:
            if self._form == WHOLE:
                return Answer(await self._client.speak(self.text, timeout_s=self._budget_s))
            async with aclosing(self._client.stream(self.text, timeout_s=self._budget_s)) as chunks:
                async for chunk in chunks:
                    audio += chunk
        except SpeechError as exc:
            return Answer(audio, exc.code)
        return Answer(audio)

    async def answer(self) -> Answer:
        async with asyncio.timeout(GUARD_S):
            return await self._task

    async def leave(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class PlainCaller:
    """Sends one NATS message with a reply subject; it keeps every message that comes there."""

    def __init__(self, group: Group, text: str, budget_s: float = BUDGET_S) -> None:
        self.proxy = group.caller_proxy
        self._group = group
        self._text = text
        self._budget_s = budget_s
        self._replies: list[Msg] = []
        self._came = asyncio.Event()

    async def begin(self) -> None:
        nc = self._group.plain.nc
        inbox = nc.new_inbox()

        async def on_reply(msg: Msg) -> None:
            self._replies.append(msg)
            self._came.set()

        await nc.subscribe(inbox, cb=on_reply)
        headers = {BUDGET_MS: str(round(1000 * self._budget_s))}
        await nc.publish(self._group.synth_subject, self._text.encode(), reply=inbox, headers=headers)

    async def answer(self) -> Answer:
        async with asyncio.timeout(GUARD_S):
            await self._came.wait()
        return self.answer_so_far()

    def answer_so_far(self) -> Answer:
        """Return what has come; at most one message may have."""
        assert len(self._replies) <= 1, "answered twice"
        for msg in self._replies:
            return Answer(msg.data, (msg.headers or {}).get(ERROR, ""))
        return Answer()

    async def leave(self) -> None:
        raise NotImplementedError("a plain caller has no way to leave")


class HttpCaller:
    """Uses a gateway; it leaves by closing its connection."""

    def __init__(self, group: Group, gateway: Gateway, text: str, form: str) -> None:
        self.proxy = gateway.proxy
        self._url = gateway.url
        self._values = {"text": text, "stream": form == STREAM}
        self._task: asyncio.Task[Answer]

    async def begin(self) -> None:
        self._task = asyncio.create_task(self._post(), name="caller over HTTP")

    async def _post(self) -> Answer:
        audio = b""
        try:
            async with ClientSession() as http, http.post(self._url, json=self._values) as reply:
                if reply.status != 200:
                    return Answer(error=json.loads(await reply.read())["error"]["code"])
                async for chunk in reply.content.iter_any():
                    audio += chunk
        except ClientError:
            return Answer(audio, "broken")
        return Answer(audio)

    async def answer(self) -> Answer:
        async with asyncio.timeout(GUARD_S):
            return await self._task

    async def leave(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


class Gateway:
    """A gateway in this process, behind a proxy; nothing may be left at its client either."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._stack = AsyncExitStack()
        self.proxy: Proxy
        self.url = ""

    async def __aenter__(self) -> Gateway:
        stack, group = self._stack, self._group
        self.proxy = await stack.enter_async_context(proxy(group.server.url))
        client = await stack.enter_async_context(
            connect(self.proxy.url, subjects=group.subjects, default_model=MODEL, timing=TIMING)
        )
        link = Link()
        settings = GatewaySettings(port=0, timeout_s=BUDGET_S)
        server = await stack.enter_async_context(listening(make_app(link, settings), settings))
        link.set(client)
        self.url = f"{server.url}/tts"
        group.clients.append(client)
        group.proxies.append(self.proxy)
        stack.callback(group.clients.remove, client)
        stack.callback(group.proxies.remove, self.proxy)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._stack.aclose()


class ProcessCaller:
    """A process of its own; it leaves by being killed."""

    def __init__(self, group: Group, between: Proxy, text: str, form: str) -> None:
        self.proxy = between
        self._arguments = (between.url, group.subjects.root, MODEL, form, text)
        self._process: asyncio.subprocess.Process

    async def begin(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(PROCESS), *self._arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
        )

    async def answer(self) -> Answer:
        raise NotImplementedError("what a killed process heard is not known")

    async def leave(self) -> None:
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(GUARD_S):
            await self._process.wait()
        await self.proxy.until_cut()
