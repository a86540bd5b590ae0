"""A gateway whose only node does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.client import TtsClient, connect
from antiphon.heartbeat import Voice, encode_voices
from antiphon.request import SpeechRequest, decode_request
from antiphon.subjects import Subjects
from tests.antiphon.scripted_node import MODEL, ScriptedNode, settled

if TYPE_CHECKING:
    from tests.gateway.conftest import Gateway, GatewayFactory

SPEECH = "/v1/audio/speech"
VOICES = (Voice("anna", "Anna", "de"), Voice("bob"))


@dataclass
class Scene:
    """One gateway and one node. n_lists: how often the node was asked for its voices."""

    gateway: Gateway
    client: TtsClient
    node: ScriptedNode
    nc: Client
    subjects: Subjects
    n_lists: int = 0
    voices: tuple[Voice, ...] = VOICES
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where OpenAI's libraries find the gateway."""
        return f"{self.gateway.server.url}/v1"

    async def beat(self, **values: Any) -> None:
        """Send a heartbeat, and return when the gateway has heard it."""
        seq = await self.node.beat(**{"voices_hash": "first", **values})
        async with asyncio.timeout(10):
            while all(seen.heartbeat.seq != seq for seen in self.client.cluster.nodes(0.0)):  # noqa: ASYNC110
                await asyncio.sleep(0.002)

    async def tell_voices(self) -> None:
        """Answer for the voices from now on."""

        async def on_voices(msg: Msg) -> None:
            self.n_lists += 1
            await self.nc.publish(msg.reply, encode_voices(MODEL, self.voices, self.aliases))

        await self.nc.subscribe(self.subjects.voices(MODEL), queue="voices", cb=on_voices)
        await settled(self.nc)

    async def asked(self, **values: Any) -> SpeechRequest:
        """Post a request, answer it, and return what the node was asked."""
        await self.node.arm()
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(self.serve())
            async with self.gateway.http.post(SPEECH, json={"input": "hello", **values}) as reply:
                body = await reply.read()
                asked = await serving
                assert (reply.status, body) == (200, asked.text.encode()), body
        return asked

    async def serve(self) -> SpeechRequest:
        """Answer the next request with its own text, and return it."""
        msg = await self.node.request()
        await self.node.finish(msg, await self.node.accept(msg))
        return decode_request(msg.data)

    async def refused(self, **values: Any) -> tuple[int, dict[str, Any]]:
        """Post a request that fails, and return the status and the error."""
        async with self.gateway.http.post(SPEECH, json={"input": "hello", **values}) as reply:
            return reply.status, (await reply.json())["error"]


@asynccontextmanager
async def scene(
    nats_url: str, subjects: Subjects, gateway_at: GatewayFactory, **settings: Any
) -> AsyncIterator[Scene]:
    """Start a gateway with these settings, and a node of the model `m`, its default."""
    nc = await nats.connect(nats_url)
    node = ScriptedNode(nc, subjects)
    await node.listen()
    try:
        async with (
            connect(nats_url, subjects=subjects, default_model=MODEL) as client,
            gateway_at(model=MODEL, **settings) as gateway,
        ):
            gateway.link.set(client)
            made = Scene(gateway, client, node, nc, subjects)
            await made.tell_voices()
            await made.beat()
            yield made
    finally:
        await nc.close()


class Stage(Protocol):
    """Starts a scene with these settings of the gateway."""

    def __call__(self, **settings: Any) -> AbstractAsyncContextManager[Scene]: ...
