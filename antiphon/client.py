"""What other services call: speak, stream, voices, status."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from nats.aio.msg import Msg

from antiphon.background import background
from antiphon.choice import Choice, Has
from antiphon.cluster import Cluster, GroupStatus
from antiphon.connection import Connection, connected
from antiphon.dispatch import Dispatcher
from antiphon.errors import MalformedMessage, NoNodes, NotConnected
from antiphon.heartbeat import Voice, VoiceList, decode_heartbeat, decode_waiting
from antiphon.inbox import inboxes
from antiphon.lengths import with_length
from antiphon.request import SpeechRequest
from antiphon.run import Timing
from antiphon.servers import DEFAULT_SERVER
from antiphon.status import StatusRounds
from antiphon.subjects import Subjects
from antiphon.ticket import Limits, Ticket
from antiphon.utterance import Utterance
from antiphon.voices import VOICES_S, VoiceLists

DEFAULT_TIMEOUT_S: Final = 60.0
STREAM_TIMEOUT_S: Final = 4 * 3600.0
"""A stream is taken at the pace of speech."""
_HELD_BYTES: Final = 16 * 1024 * 1024


class TtsClient:
    """A connection to a group of synthesis nodes. Made by `connect`; safe to share between tasks."""

    def __init__(
        self, connection: Connection, dispatcher: Dispatcher, rounds: StatusRounds, default_model: str | None
    ) -> None:
        self.connection = connection
        self.cluster: Cluster = dispatcher.cluster
        self.default_model = default_model
        self._dispatcher = dispatcher
        self._voices = VoiceLists(dispatcher)
        self._choice = Choice(dispatcher, self._voices)
        self._rounds = rounds

    async def speak(
        self,
        text: str,
        *,
        model: str | None = None,
        voice: str | None = None,
        speed: float = 1.0,
        format: str = "mp3",
        sample_rate: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> bytes:
        """Return the whole utterance as one audio file.

        A node or an engine that dies on the way costs time, not the answer: another one takes over.

        model: None is the default model, or the only one that has the voice, or the only one that lives.
        timeout_s: the whole budget.

        Raises:
            SpeechError: see errors.py; `retryable` and `retry_after_s` tell what to do.
        """
        request = SpeechRequest(text, voice, speed, format, sample_rate)
        async with self.utterance(
            request, model=model, timeout_s=timeout_s, hold_bytes=_HELD_BYTES
        ) as utterance:
            is_whole = utterance.end is not None
            audio = b"".join([chunk async for chunk in utterance])
        return audio if is_whole else with_length(audio, format)

    async def stream(
        self,
        text: str,
        *,
        model: str | None = None,
        voice: str | None = None,
        speed: float = 1.0,
        format: str = "mp3",
        sample_rate: int | None = None,
        timeout_s: float = STREAM_TIMEOUT_S,
        wait_s: float = DEFAULT_TIMEOUT_S,
    ) -> AsyncGenerator[bytes, None]:
        """Yield the utterance's audio as it is made.

        When a node dies, another goes on where the listener is; in flac that cannot be, and is raised.
        Iterate it under contextlib.aclosing to leave early: the run is cancelled then.

        timeout_s: the whole budget, in which the audio has to be taken, too. wait_s: bound on each wait for
        a free slot.

        Raises:
            SpeechError: see errors.py.
        """
        request = SpeechRequest(text, voice, speed, format, sample_rate)
        async with self.utterance(request, model=model, timeout_s=timeout_s, wait_s=wait_s) as utterance:
            async for chunk in utterance:
                yield chunk

    @asynccontextmanager
    async def utterance(
        self,
        request: SpeechRequest,
        *,
        model: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        wait_s: float | None = None,
        hold_bytes: int = 0,
        traceparent: str | None = None,
    ) -> AsyncIterator[Utterance]:
        """Have `request` spoken; the audio is there to be iterated over.

        Entering waits until the first audio has come, or with `hold_bytes` until all of it or more than that
        has: until then a lost run is replaced by another. Leaving early ends the request wherever it is.

        timeout_s: the whole budget. wait_s: bound on waiting for a free slot, the budget unless given.

        Raises:
            SpeechError: see errors.py.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        wait_s = timeout_s if wait_s is None else wait_s
        model = await self.resolve(model, request.voice, within_s=min(wait_s, timeout_s))
        ticket = Ticket(request, model, deadline=deadline, wait_s=wait_s, traceparent=traceparent)
        utterance = Utterance(self._dispatcher, ticket)
        try:
            await utterance.begin(hold_bytes)
            yield utterance
        finally:
            await utterance.leave()

    async def resolve(
        self,
        model: str | None,
        voice: str | None = None,
        *,
        within_s: float = DEFAULT_TIMEOUT_S,
        has: Has | None = None,
    ) -> str:
        """Return the model to use; see Choice.model for the rule.

        within_s: bound on waiting for nodes that were not heard of yet. has: tells whether a model has the
        voice; without it the voices that it lists are those that it has.

        Raises:
            InvalidRequest: the name is no subject token.
            AmbiguousModel: several models could be meant.
            NoNodes: no node of any model lives, or it cannot be told yet who has the voice.
        """
        return await self._choice.model(model, self.default_model, voice, within_s=within_s, has=has)

    async def knows(self, model: str) -> bool:
        """Tell whether a node of the model was ever heard of; one that has just connected asks them first."""
        if not self.cluster.was_seen(model):
            with suppress(TimeoutError):
                async with asyncio.timeout(self._dispatcher.timing.settle_s):
                    await self._dispatcher.settled.wait()
        return self.cluster.was_seen(model)

    async def voices(self, model: str | None = None) -> tuple[Voice, ...]:
        """Return the voices of a model, as one of its nodes lists them.

        Raises:
            NoNodes: no node of that model answers.
        """
        return (await self.voice_list(model)).voices

    async def voice_list(self, model: str | None = None, *, within_s: float = VOICES_S) -> VoiceList:
        """Return the voices of a model, and what else its engine calls them, as one of its nodes lists them.

        A node is asked once, and again when heartbeats tell of a change.
        While no node lives, what was told last.

        within_s: bound on waiting for nodes that start, or that were not heard of yet.

        Raises:
            NoNodes: no node of that model answers.
            NotConnected: there is no connection to NATS.
        """
        ends_at = asyncio.get_running_loop().time() + within_s
        model = await self.resolve(model, within_s=within_s)
        return await self._voices.of(model, within_s=ends_at - asyncio.get_running_loop().time())

    async def voice_lists(self, *, within_s: float = VOICES_S) -> dict[str, VoiceList | None]:
        """Return the voices of every model that lives, the default one first.

        None for a model that did not tell them in time. While no node lives, what was told last.

        Raises:
            NoNodes: nobody told any.
            NotConnected: the same, without a connection to NATS.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s
        models = await self._choice.models(ends_at) or self._voices.models
        models.sort(key=lambda model: model != self.default_model)
        lists = await self._voices.of_each(models, within_s=ends_at - loop.time())
        if all(listed is None for listed in lists.values()):
            if not self.connection.nc.is_connected:
                raise NotConnected("no connection to NATS")
            raise NoNodes(
                f"no node tells its voices, of {len(models)} models" if models else "no node is alive"
            )
        return lists

    async def status(self) -> GroupStatus:
        """Return who lives and how busy they are: each node is asked, concurrent callers share one round.

        A node that does not answer within 250 ms is shown as silent. Raises NotConnected.
        """
        return await self._rounds.status()

    def waiting(self) -> int:
        """Return the number of requests that wait for a slot, over all callers."""
        now = asyncio.get_running_loop().time()
        others = self.cluster.waiting(now, without=self._dispatcher.caller)
        return others.waiting + self._dispatcher.waiting().waiting

    def can_speak(self) -> bool:
        """Tell whether there is a connection and a living node that is ready and does not pause."""
        beats = (seen.heartbeat for seen in self.cluster.nodes(asyncio.get_running_loop().time()))
        return self.connection.nc.is_connected and any(b.state == "ready" and not b.paused for b in beats)

    def forecast(self, model: str | None = None) -> float | None:
        """Return in how many seconds a request that came now would find a free slot; None when unknown."""
        models = self.cluster.models(asyncio.get_running_loop().time())
        name = model or self.default_model or (models[0] if len(models) == 1 else None)
        return None if name is None else self._dispatcher.forecast(name)


@asynccontextmanager
async def connect(
    servers: str | Sequence[str] = DEFAULT_SERVER,
    *,
    name: str = "antiphon-client",
    default_model: str | None = None,
    subjects: Subjects | None = None,
    limits: Limits | None = None,
    timing: Timing | None = None,
    within_s: float | None = 5.0,
    **options: Any,
) -> AsyncIterator[TtsClient]:
    """Connect to the group behind these NATS servers (the same ordered list for every process).

    within_s: bound on the first connect; None waits as long as it takes. options: see connection.connected.

    Raises:
        NotConnected: no server answered in time.
    """
    subjects, cluster = subjects or Subjects(), Cluster()
    async with (
        connected(servers, name=name, within_s=within_s, **options) as connection,
        background() as spawn,
        inboxes(connection) as boxes,
    ):
        dispatcher = Dispatcher(
            connection,
            subjects,
            cluster,
            boxes,
            spawn,
            limits=limits or Limits(),
            timing=timing or Timing(),
        )
        boxes.on_unknown = dispatcher.strays.on_unknown
        await _listen(connection, subjects, cluster)
        rounds = StatusRounds(dispatcher)
        connection.on_reconnect(rounds.refresh)
        await rounds.refresh()
        spawn(dispatcher.report_waiting(), "report what waits")
        try:
            yield TtsClient(connection, dispatcher, rounds, default_model)
        finally:
            await dispatcher.leave()


async def _listen(connection: Connection, subjects: Subjects, cluster: Cluster) -> None:
    """Keep the picture up to date from what nodes and callers publish."""
    loop = asyncio.get_running_loop()

    async def on_heartbeat(msg: Msg) -> None:
        with suppress(MalformedMessage):
            cluster.heard(decode_heartbeat(msg.data), loop.time())

    async def on_waiting(msg: Msg) -> None:
        with suppress(MalformedMessage):
            _, model, caller = msg.subject.rsplit(".", 2)
            cluster.heard_waiting(model, caller, decode_waiting(msg.data), loop.time())

    await connection.established()
    await connection.nc.subscribe(subjects.heartbeat_all, cb=on_heartbeat)
    await connection.nc.subscribe(subjects.waiting_all, cb=on_waiting)
