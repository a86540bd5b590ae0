"""The two axes of the race table: how far a request has come, and what happens to it there."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import psutil

from tests.conftest import GUARD_S, until
from tests.end_to_end.support_callers import PLAIN, Caller, LibraryCaller
from tests.end_to_end.support_engines import MODEL, Speaking
from tests.end_to_end.support_group import Group
from tests.end_to_end.support_node import Node


@dataclass
class Scene:
    """One request and what goes on around it.

    charge: the node that has the request, or the one whose slot became free for it. speaking: its engine at
    work on it. bystander: a second request of the same process, right behind it in the FIFO. cut_off: what
    the occupants said when their engine was killed; its node has the group say it again.
    """

    group: Group
    text: str
    form: str
    victim: Caller
    charge: Node = field(init=False)
    speaking: Speaking | None = None
    occupants: list[Speaking] = field(default_factory=list)
    bystander: LibraryCaller | None = None
    cut_off: list[str] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """All nodes."""
        return self.group.nodes

    def release(self, *, but_up_from: Node | None = None) -> None:
        """Let everything on its way go on; `but_up_from` keeps what one node has said."""
        self.victim.proxy.down.release()
        for node in self.nodes:
            node.proxy.down.release()
            if node is not but_up_from:
                node.proxy.up.release()


Phase = Callable[[Scene], Awaitable[None]]
"""Begins the request and returns when it has come so far."""


async def in_fifo(scene: Scene) -> None:
    """Every slot is busy, and the request waits."""
    scene.occupants = await scene.group.occupy()
    scene.charge = scene.group.node_of(scene.occupants[0])
    scene.victim.proxy.down.forget()
    await scene.victim.begin()
    # It has tried, joined the waiters, tried once more, and now waits for a wake-up.
    await scene.victim.proxy.down.until_passed(b"NATS/1.0 503", times=2)
    if isinstance(scene.victim, LibraryCaller):
        scene.bystander = LibraryCaller(scene.group, scene.group.text("bystander"), scene.form)
        await scene.bystander.begin()
        await until(lambda: scene.group.caller.waiting() == 2, "two requests that wait")


async def woken(scene: Scene) -> None:
    """A slot has become free, and its announcement is on its way to the caller."""
    await in_fifo(scene)
    scene.victim.proxy.down.hold()
    scene.occupants[0].end()
    await scene.victim.proxy.down.until_held(scene.group.subjects.free(MODEL).encode())


async def claim_sent(scene: Scene) -> None:
    """The server has given the request to a slot, whose node has not got it yet."""
    request = f"{scene.group.synth_subject} ".encode()
    for node in scene.nodes:
        node.proxy.down.hold()
    await scene.victim.begin()
    await until(lambda: any(node.proxy.down.holds(request) for node in scene.nodes), "a request held")
    scene.charge = next(node for node in scene.nodes if node.proxy.down.holds(request))
    for node in scene.nodes:
        if node is not scene.charge:
            node.proxy.down.release()


async def accepted(scene: Scene) -> None:
    """A slot has taken the request, the caller knows it, and there is no audio yet."""
    scene.victim.proxy.down.forget()
    await scene.victim.begin()
    scene.speaking = await scene.group.engines.next(scene.text)
    scene.charge = scene.group.node_of(scene.speaking)
    if scene.form != PLAIN:
        await scene.victim.proxy.down.until_passed(b"\xa8accepted")


async def audio_flowing(scene: Scene) -> None:
    """The first audio has reached the caller; a plain one's has been made."""
    await accepted(scene)
    assert scene.speaking is not None
    piece = scene.speaking.piece()
    if scene.form != PLAIN:
        await scene.victim.proxy.down.until_passed(piece)


async def before_end(scene: Scene) -> None:
    """All audio has been made; the end, or the plain reply, has left the node and is on its way."""
    await audio_flowing(scene)
    assert scene.speaking is not None
    scene.charge.proxy.up.hold()
    scene.speaking.end()
    await scene.charge.proxy.up.until_held(b"Tts-Audio-Ms" if scene.form == PLAIN else b"\xa3end")


class Fault:
    """Something that happens to a request; it is mended when the answer is there."""

    async def strike(self, scene: Scene) -> None:
        """Do it, and let go of what the phase held back as far as the fault leaves it."""
        raise NotImplementedError

    async def mend(self, scene: Scene) -> None:
        """Bring the group back to what it was."""


class KillNode(Fault):
    """kill -9 of the node in charge; what it had not got out is lost."""

    async def strike(self, scene: Scene) -> None:
        await scene.charge.kill()
        scene.release()

    async def mend(self, scene: Scene) -> None:
        await scene.group.restart_nodes()


_RESTARTED: Final = '"engine restarted"'


class KillEngine(Fault):
    """kill -9 of the engine's process of the slot in charge; until it has another, the slot is no member."""

    async def strike(self, scene: Scene) -> None:
        node = scene.charge.process
        n_restarts = node.log.count(_RESTARTED)
        scene.cut_off = [
            each.text for each in scene.occupants if each.node_pid == node.pid and not each.ended
        ]
        for engine in psutil.Process(node.pid).children():
            engine.kill()
        scene.release()
        # Before, it may seem to be armed and free, for it has not noticed yet.
        await until(lambda: node.log.count(_RESTARTED) > n_restarts, "an engine that is restarted")

    async def mend(self, scene: Scene) -> None:
        for text in scene.cut_off:
            async with asyncio.timeout(GUARD_S):
                await (await scene.group.engines.next(text)).gone.wait()


class Freeze(Fault):
    """SIGSTOP of the node in charge; SIGCONT when the answer is there, or before for a plain caller."""

    async def strike(self, scene: Scene) -> None:
        scene.charge.send_signal(signal.SIGSTOP)
        scene.release(but_up_from=scene.charge)

    async def mend(self, scene: Scene) -> None:
        scene.charge.send_signal(signal.SIGCONT)
        scene.release()


class RestartServer(Fault):
    """nats-server ends and is started again; what was on its way is lost."""

    async def strike(self, scene: Scene) -> None:
        await scene.group.restart_server()
        scene.release()


class CallerLeaves(Fault):
    """The caller goes away in its own manner: it cancels, closes its HTTP connection, or is killed."""

    async def strike(self, scene: Scene) -> None:
        await scene.victim.leave()
        scene.release()


async def settled(scene: Scene) -> None:
    """Check that nothing is left of the request, and that every slot speaks again."""
    async with asyncio.timeout(60):
        await scene.group.until_settled()
        await scene.group.serves()
