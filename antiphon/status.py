"""Asking every node for its heartbeat at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace

import nats.errors
from nats.aio.msg import Msg

from antiphon.cluster import GroupStatus, group_status
from antiphon.dispatch import Dispatcher
from antiphon.errors import MalformedMessage, NotConnected
from antiphon.heartbeat import Waiting, decode_heartbeat
from antiphon.inbox import is_no_responders


class StatusRounds:
    """Rounds of `tts.status`; callers at the same time share one."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._round: tuple[asyncio.Task[None], set[str]] | None = None

    async def refresh(self) -> None:
        """Begin a round after a (re)connect; its replies count as heartbeats."""
        self._dispatcher.settled.clear()
        self._begin()

    async def status(self) -> GroupStatus:
        """Return the group as a round shows it; a known node that does not answer is silent.

        Raises:
            NotConnected: there is no connection to NATS.
        """
        if not self._dispatcher.connection.nc.is_connected:
            raise NotConnected("no connection to NATS")
        task, answered = self._begin()
        await asyncio.shield(task)
        now = asyncio.get_running_loop().time()
        nodes = self._dispatcher.cluster.nodes(now)
        seen = [s if s.heartbeat.node in answered else replace(s, silent=True) for s in nodes]
        return group_status(seen, self._waiting(now))

    def _begin(self) -> tuple[asyncio.Task[None], set[str]]:
        """Return the round that runs, or a new one, with the set of nodes that answer it."""
        if self._round is None or self._round[0].done():
            answered: set[str] = set()
            self._round = self._dispatcher.spawn(self._ask(answered), "status round"), answered
        return self._round

    def _waiting(self, now: float) -> dict[str, Waiting]:
        dispatcher = self._dispatcher
        sums: dict[str, Waiting] = {}
        for model in dispatcher.waiting_models | dispatcher.cluster.waiting_models(now):
            others = dispatcher.cluster.waiting(now, model, without=dispatcher.caller)
            mine = dispatcher.waiting(model)
            sums[model] = Waiting(others.waiting + mine.waiting, others.characters + mine.characters)
        return sums

    async def _ask(self, answered: set[str]) -> None:
        """Ask all nodes; ends when every node known from heartbeats has replied, or when the time is up."""
        dispatcher = self._dispatcher
        loop = asyncio.get_running_loop()
        complete = asyncio.Event()
        # Without a known node the round lasts its full time: it is what tells "no node" from "not yet heard".
        expected = {seen.heartbeat.node for seen in dispatcher.cluster.nodes(loop.time())}

        def on_reply(msg: Msg) -> None:
            if is_no_responders(msg):
                return
            with suppress(MalformedMessage):
                heartbeat = decode_heartbeat(msg.data)
                dispatcher.cluster.heard(heartbeat, loop.time())
                answered.add(heartbeat.node)
                if expected and expected <= answered:
                    complete.set()

        token = dispatcher.inboxes.open(on_reply)
        try:
            subject, reply = dispatcher.subjects.status, dispatcher.inboxes.subject(token)
            await dispatcher.connection.nc.publish(subject, b"", reply=reply)
            async with asyncio.timeout(dispatcher.timing.status_s):
                await complete.wait()
        except (TimeoutError, nats.errors.Error):
            pass
        finally:
            dispatcher.inboxes.close(token)
        if dispatcher.connection.nc.is_connected:
            dispatcher.settled.set()
