"""Clients under test, and scripted nodes for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient, connect
from antiphon.dispatch import Dispatcher
from antiphon.heartbeat import Voice, encode_voices
from antiphon.run import Timing
from antiphon.subjects import VOICES_QUEUE, Subjects
from tests.antiphon.scripted_node import MODEL, ScriptedNode, settled, soon

PATIENT: Final = Timing(accept_min_s=0.5, retry_s=60.0, settle_s=0.2)
"""Nobody tries again unless it is woken, so it can be told what wakes whom."""

StartNode = Callable[..., Awaitable[ScriptedNode]]
StartClient = Callable[..., Awaitable[TtsClient]]
Speak = Callable[..., Awaitable[list[asyncio.Task[bytes]]]]


@pytest.fixture
async def raw(nats_url: str) -> AsyncIterator[Client]:
    """A connection without anything of ours."""
    nc = await nats.connect(nats_url)
    yield nc
    await nc.close()


@pytest.fixture
async def scripted(nats_url: str, subjects: Subjects) -> AsyncIterator[StartNode]:
    """Return a function that starts a scripted node, on a connection of its own."""
    async with AsyncExitStack() as stack:

        async def start(*, lives: bool = True, beats: bool = True, **beat: Any) -> ScriptedNode:
            nc = await nats.connect(nats_url)
            stack.push_async_callback(nc.close)
            node = ScriptedNode(nc, subjects)
            await node.listen(lives=lives)
            if beats:
                await node.beat(**beat)
            return node

        yield start


@pytest.fixture
async def node(scripted: StartNode) -> ScriptedNode:
    """A scripted node that is known to be alive."""
    return await scripted()


@pytest.fixture
async def caller(nats_url: str, subjects: Subjects) -> AsyncIterator[StartClient]:
    """Return a function that connects a client; options as connect() has them."""
    async with AsyncExitStack() as stack:

        async def start(**options: Any) -> TtsClient:
            options = {"timing": PATIENT, **options}
            return await stack.enter_async_context(connect(nats_url, subjects=subjects, **options))

        yield start


@pytest.fixture
async def tts(caller: StartClient, node: ScriptedNode) -> TtsClient:
    """A patient client that knows the node."""
    client = await caller()
    await knows(client, node)
    return client


@pytest.fixture
async def speak() -> AsyncIterator[Speak]:
    """Return a function that begins to speak texts one after the other, each when the last one is at rest."""
    tasks: list[asyncio.Task[bytes]] = []

    async def begin(tts: TtsClient, *texts: str, **options: Any) -> list[asyncio.Task[bytes]]:
        for text in texts:
            before = waiting_in(tts)
            tasks.append(asyncio.create_task(tts.speak(text, model=MODEL, **options)))
            await soon(lambda n=before: waiting_in(tts) > n, f"{text} waits")  # type: ignore[misc]
            await soon(lambda: at_rest(tts), "no claim of what waits is on its way")
        return tasks[len(tasks) - len(texts) :]

    yield begin
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def dispatcher_of(tts: TtsClient) -> Dispatcher:
    return tts._dispatcher


def waiting_in(tts: TtsClient) -> int:
    """Return how many requests wait in the FIFO of this client."""
    return dispatcher_of(tts).waiting(MODEL).waiting


def at_rest(tts: TtsClient) -> bool:
    """Tell whether all that waits in this client has tried, and tries again only when it is woken."""
    queues = dispatcher_of(tts)._queues.values()
    return all(len(queue.fifo) == queue.n_waiting and not queue._probing for queue in queues)


async def knows(tts: TtsClient, node: ScriptedNode, **beat: Any) -> None:
    """Send a heartbeat of the node, and return when the client has heard it."""
    await tts.connection.nc.flush()  # by now the server knows who listens
    seq = await node.beat(**beat)
    now = asyncio.get_running_loop().time

    def heard() -> bool:
        beats = (seen.heartbeat for seen in tts.cluster.nodes(now()))
        return any(beat.node == node.id and beat.seq == seq for beat in beats)

    await soon(heard, "the node is known")


class Model:
    """A model with one node that lists what the test says. n_asked: how often it was asked for its voices."""

    def __init__(self, node: ScriptedNode, subjects: Subjects, name: str, voices: tuple[str, ...]) -> None:
        self.node = node
        self.name = name
        self.voices = voices
        self.aliases: dict[str, str] = {}
        self.n_asked = 0
        self._subjects = subjects

    async def beat(self, tts: TtsClient, **values: Any) -> None:
        """Have the client hear a heartbeat."""
        await knows(tts, self.node, **{"model": self.name, "voices_hash": "first", **values})

    async def beat_left(self, tts: TtsClient) -> None:
        """Have the client hear that the node has left."""
        await self.node.beat(model=self.name, state="left")
        now = asyncio.get_running_loop().time
        await soon(lambda: not tts.cluster.has_nodes(self.name, now()), "the node has left")

    async def tell(self) -> None:
        """Answer for the voices from now on."""

        async def on_voices(msg: Msg) -> None:
            self.n_asked += 1
            voices = tuple(Voice(voice) for voice in self.voices)
            await self.node.nc.publish(msg.reply, encode_voices(self.name, voices, self.aliases))

        await self.node.nc.subscribe(self._subjects.voices(self.name), queue=VOICES_QUEUE, cb=on_voices)
        await settled(self.node.nc)


StartModel = Callable[..., Awaitable[Model]]


@pytest.fixture
def start_model(scripted: StartNode, subjects: Subjects) -> StartModel:
    """Return a function that starts a model with these voices, and waits until the client knows its node.

    tells: it answers for its voices. Further options are the heartbeat's.
    """

    async def start(tts: TtsClient, name: str, *voices: str, tells: bool = True, **beat: Any) -> Model:
        made = Model(await scripted(beats=False), subjects, name, voices)
        if tells:
            await made.tell()
        await made.beat(tts, **beat)
        return made

    return start
