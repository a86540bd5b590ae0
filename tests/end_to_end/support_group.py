"""A group for races: a nats-server, nodes and callers behind proxies, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import psutil

from antiphon.client import TtsClient, connect
from antiphon.connection import Connection, connected
from antiphon.run import Timing
from antiphon.subjects import Subjects
from antiphon.ticket import Limits
from tests.conftest import GUARD_S, NatsServer
from tests.end_to_end.support_engines import MODEL, SOCKET, Engines, Speaking, engines
from tests.end_to_end.support_node import Node
from tests.end_to_end.support_proxy import Proxy, proxy

TIMING: Final = Timing(accept_min_s=0.3)
"""The accept time-out is long enough for a test to act within it."""


class Group:
    """A dispatch domain of its own. caller: the client under test, behind `caller_proxy`."""

    server: NatsServer
    engines: Engines
    caller: TtsClient
    caller_proxy: Proxy
    plain: Connection

    def __init__(self) -> None:
        self.subjects = Subjects(f"t{uuid.uuid4().hex}")
        self.nodes: list[Node] = []
        self.clients: list[TtsClient] = []
        self.proxies: list[Proxy] = []
        self.synth_subject = self.subjects.synth(MODEL)
        self._n_texts = 0

    def text(self, words: str = "victim") -> str:
        """Return a text that no other request has."""
        self._n_texts += 1
        return f"{words} {self._n_texts}"

    def node_of(self, speaking: Speaking) -> Node:
        """Return the node whose engine speaks."""
        return next(node for node in self.nodes if node.pid == speaking.node_pid)

    async def occupy(self) -> list[Speaking]:
        """Give every free slot something to speak, by plain requests whose answers nobody awaits."""
        speakings = []
        for _ in range(sum(node.slots for node in self.nodes)):
            text = self.text("occupant")
            await self.plain.nc.publish(self.synth_subject, text.encode(), reply=self.plain.nc.new_inbox())
            speakings.append(await self.engines.next(text))
        return speakings

    # -- what the server and the system see

    async def members(self, subject: str, queue: str) -> list[int | None]:
        """Return the limit of every member of a queue group as the server has it; None is without limit."""
        url = f"{self.server.monitor_url}/connz?subs=detail&limit=1000"
        connections = json.loads(await asyncio.to_thread(_get, url))["connections"]
        subscriptions = [sub for each in connections for sub in each.get("subscriptions_list_detail", ())]
        return [
            sub.get("max")
            for sub in subscriptions
            if sub["subject"] == subject and sub.get("qgroup") == queue
        ]

    async def until_armed(self, idle: int | None = None) -> None:
        """Wait until each idle slot is a one-shot member of the queue group, and nothing else is a member.

        idle: how many; all slots unless given.
        """
        slots = sum(node.slots for node in self.nodes if node.runs) if idle is None else idle

        async def armed() -> str:
            members = await self.members(self.synth_subject, "synth")
            return "" if members == [1] * slots else f"{slots} slots, members with the limits {members}"

        await until_clean(armed)

    async def until_settled(self) -> None:
        """Wait until nothing is left of any request: memberships, tokens, tasks, processes, runs."""
        await self.until_armed()
        await until_clean(self._left_at_callers)
        await until_clean(self._left_at_nodes)
        await until_clean(self._left_processes)

    async def _left_at_callers(self) -> str:
        for client in self.clients:
            dispatcher = client._dispatcher
            queues = [queue for queue in dispatcher._queues.values() if not queue.unused]
            if len(dispatcher.inboxes) or queues:
                return f"{len(dispatcher.inboxes)} tokens, {len(queues)} queues in use"
        tasks = [task.get_name() for task in asyncio.all_tasks()]
        left = [name for name in tasks if name.startswith(_REQUEST_TASKS)]
        waiters = await self.members(self.subjects.free(MODEL), "waiters")
        return f"tasks {left}, waiters {waiters}" if left or waiters else ""

    async def _left_at_nodes(self) -> str:
        now = asyncio.get_running_loop().time()
        living = {node.process.name for node in self.nodes if node.runs}
        beats = [seen.heartbeat for seen in self.caller.cluster.nodes(now)]
        of_living = [beat for beat in beats if beat.name in living]
        idle = all((beat.idle, beat.busy, beat.running) == (beat.slots, 0, ()) for beat in of_living)
        return "" if idle and len(of_living) == len(living) else f"{beats}"

    async def _left_processes(self) -> str:
        engines_of_living = set()
        for node in self.nodes:
            if node.runs:
                children = _living(psutil.Process(node.pid).children(recursive=True))
                if len(children) != node.slots:
                    return f"node {node.pid} has the children {children}"
                engines_of_living |= {child.pid for child in children}
        seen = {speaking.pid for speaking in self.engines.all} - engines_of_living
        orphans = _living([psutil.Process(pid) for pid in seen if psutil.pid_exists(pid)])
        return f"orphans: {orphans}" if orphans else ""

    async def serves(self) -> None:
        """Have every slot speak at the same time: all are there and free."""
        self.engines.hold_again()
        for speaking in await self.occupy():
            speaking.end()
        await self.until_armed()

    # -- its parts

    async def heal(self) -> None:
        """Start what died, let go of all that is held, and wait until all is as at the beginning."""
        for between in self.proxies:
            between.release()
        for node in self.nodes:
            if node.runs:
                node.send_signal(signal.SIGCONT)
        await self.restart_nodes()
        self.engines.let_end()
        try:
            await self.until_settled()
        finally:
            self.engines.hold_again()

    async def restart_nodes(self) -> None:
        """Start every node anew that has ended."""
        for node in self.nodes:
            if not node.runs:
                await node.end()
                await node.start()

    async def restart_server(self, signum: int = signal.SIGTERM, *, away_s: float = 0.0) -> None:
        """Stop the server, start it again after so many seconds, and wait until all are back.

        What the proxies hold is lost with the connections, and nothing is held any more.
        """
        await self.stop_server(signum)
        await asyncio.sleep(away_s)
        await self.start_server()
        for client in self.clients:
            await client.connection.established()
        await self.plain.established()
        await until_clean(self._unheard_nodes)

    async def stop_server(self, signum: int = signal.SIGTERM) -> None:
        """Stop the server, and wait until every connection is broken; SIGUSR2 has it say so before."""
        for between in self.proxies:
            between.refuse()
        await asyncio.to_thread(self.server.stop, signum)
        for between in self.proxies:
            await between.until_cut()
            between.release()

    async def start_server(self, *, but_for: Proxy | None = None) -> None:
        """Start the server anew; the proxy `but_for` still refuses connections."""
        self.server.start()
        for between in self.proxies:
            if between is not but_for:
                await between.listen()

    async def _unheard_nodes(self) -> str:
        workers = (await self.caller.status()).workers
        answered = {worker["name"] for worker in workers if worker["state"] != "silent"}
        return "".join(
            node.process.name for node in self.nodes if node.runs and node.process.name not in answered
        )


_REQUEST_TASKS: Final = ("waiting for", "leave the waiters", "pass a wake-up", "cancel a stray", "caller")
"""How the names of tasks begin that belong to a request."""


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=GUARD_S) as answer:
        return bytes(answer.read())


def _living(processes: list[psutil.Process]) -> list[psutil.Process]:
    living = []
    for process in processes:
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except psutil.NoSuchProcess:
            continue
    return living


async def until_clean(check: Callable[[], Any]) -> None:
    """Wait until the coroutine function `check` returns an empty string; else it says what is left."""
    deadline = time.monotonic() + GUARD_S
    while left := await check():
        assert time.monotonic() < deadline, left
        await asyncio.sleep(0.01)


@asynccontextmanager
async def race_group(
    *, nodes: int = 2, limits: Limits | None = None, timing: Timing = TIMING, **settings: Any
) -> AsyncIterator[Group]:
    """Start a server, nodes of the engine on strings, and a client."""
    group = Group()
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        group.server = NatsServer(directory)
        group.server.start()
        stack.callback(group.server.stop)
        group.engines = await stack.enter_async_context(engines(directory))
        os.environ[SOCKET] = str(directory / "engines")
        stack.callback(os.environ.pop, SOCKET, None)
        for _ in range(nodes):
            node = Node(group.subjects, await stack.enter_async_context(proxy(group.server.url)), settings)
            group.proxies.append(node.proxy)
            stack.push_async_callback(node.end)
            group.nodes.append(node)
        await asyncio.gather(*(node.start() for node in group.nodes))
        group.caller_proxy = await stack.enter_async_context(proxy(group.server.url))
        group.proxies.append(group.caller_proxy)
        group.plain = await stack.enter_async_context(connected(group.server.url, name="plain caller"))
        group.caller = await stack.enter_async_context(
            connect(
                group.caller_proxy.url,
                subjects=group.subjects,
                default_model=MODEL,
                limits=limits,
                timing=timing,
            )
        )
        group.clients.append(group.caller)
        await group.until_settled()
        yield group
