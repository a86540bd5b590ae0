"""A node within the test's own process, and a raw caller of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from antiphon.background import background
from antiphon.connection import connected
from antiphon.events import Event, decode_event
from antiphon.feedback import Cancel, Credit, encode_cancel, encode_credit
from antiphon.inbox import inboxes
from antiphon.subjects import Subjects
from synth_node.audio.encode import Mp3Encoder
from synth_node.config import SynthSettings
from synth_node.engine_settings import EngineSettings
from synth_node.node import SynthNode
from tests.synth_node.support_slot import MIB, LongFile

GUARD_S: Final = 15.0
"""Bound on every wait of a test: against hanging, far above what is expected."""
ENGINES: Final = Path(__file__).parent.parent / "engines"
FAULTS: Final = f"{ENGINES / 'faults.py'}:misbehave"
FILES: Final = f"{ENGINES / 'forms.py'}:file_from_text"

StartNode = Callable[..., Awaitable[SynthNode]]


async def soon(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; for state that has no event of its own."""
    try:
        async with asyncio.timeout(GUARD_S):
            while not condition():  # noqa: ASYNC110
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"waited in vain: {what}") from None


def settings_of(nats_url: str, subjects: Subjects, **settings: Any) -> SynthSettings:
    """Return the settings of a node of this test."""
    values: dict[str, Any] = {"NATS_URL": nats_url, "TTS_ROOT": subjects.root, "engine": "tone", "model": "m"}
    return SynthSettings(**{**values, "heartbeat_s": 0.5, **settings})


@asynccontextmanager
async def running_node(
    nats_url: str, settings: SynthSettings, engine_settings: EngineSettings | None = None
) -> AsyncIterator[SynthNode]:
    """Run a node; at the end it drains. Yields it when all of its slots are armed."""
    async with (
        connected(nats_url, name="node", within_s=GUARD_S, reconnect_wait_s=0.02) as connection,
        inboxes(connection) as boxes,
        background() as spawn,
    ):
        node = SynthNode(connection, boxes, spawn, settings, engine_settings)
        stop = asyncio.Event()
        running = spawn(node.run(stop), "node")
        await free(node)
        yield node
        stop.set()
        await asyncio.wait({running}, timeout=GUARD_S)
        assert running.done(), "it drains"


async def free(node: SynthNode) -> None:
    """Return when all slots are armed, and the server knows."""
    await soon(lambda: idle(node) == len(node.slots), "the slots are free")
    await node.connection.nc.flush()


def idle(node: SynthNode) -> int:
    """Return how many slots wait for a request."""
    return sum(slot.state == "idle" for slot in node.slots)


@pytest.fixture
async def start(nats_url: str, subjects: Subjects) -> AsyncIterator[StartNode]:
    """Return a function that starts a node; options are settings."""
    async with AsyncExitStack() as stack:

        async def begin(**options: Any) -> SynthNode:
            settings = settings_of(nats_url, subjects, **options)
            return await stack.enter_async_context(running_node(nats_url, settings))

        yield begin


@pytest.fixture
def second_tries_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an engine behind the network try again after a millisecond."""
    monkeypatch.setattr("synth_node.network.attempts.FIRST_WAIT_S", 0.001)


class RawCaller:
    """Requests without anything of ours but the messages; nothing is acknowledged unless the test does it."""

    def __init__(self, nc: Client, subjects: Subjects) -> None:
        self.nc = nc
        self.subjects = subjects

    async def ask(self, payload: bytes, model: str = "m", **headers: str) -> Msg:
        """Return the one reply to a plain request. Underscores in the names of headers are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.nc.request(
            self.subjects.synth(model), payload, timeout=GUARD_S, headers=named or None
        )

    async def ask_when_free(self, payload: bytes, **headers: str) -> Msg:
        """Ask as often as there are no responders."""
        async with asyncio.timeout(GUARD_S):
            while True:
                try:
                    return await self.ask(payload, **headers)
                except nats.errors.NoRespondersError:
                    await asyncio.sleep(0.005)

    async def stream(self, payload: bytes, model: str = "m", **headers: str) -> RawStream:
        """Send a request for a stream."""
        stream = RawStream(self)
        inbox = self.nc.new_inbox()
        stream.subscription = await self.nc.subscribe(inbox, cb=stream.on_message)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        headers = {"Tts-Reply": "stream", "Tts-Id": "x", **named}
        await self.nc.publish(self.subjects.synth(model), payload, reply=inbox, headers=headers)
        return stream


class RawStream:
    """The events of one run. reply: the node's inbox."""

    def __init__(self, caller: RawCaller) -> None:
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.runs: set[str] = set()
        self.reply = ""
        self.node = ""
        self.subscription: Any = None
        self._caller = caller

    async def on_message(self, msg: Msg) -> None:
        if not msg.data:
            return  # no responders
        run, event = decode_event(msg.data)
        self.runs.add(run)
        self.reply = msg.reply
        self.events.put_nowait(event)

    async def next(self) -> Event:
        """Return the next event."""
        return await asyncio.wait_for(self.events.get(), GUARD_S)

    async def until(self, kind: type[Event]) -> list[Event]:
        """Return the events up to one of `kind`, that one too."""
        events = [await self.next()]
        while not isinstance(events[-1], kind):
            events.append(await self.next())
        return events

    async def credit(self, node: str, n_bytes: int) -> None:
        """Grant more audio."""
        (run,) = self.runs
        await self._caller.nc.publish(self._caller.subjects.credit(node), encode_credit(Credit(run, n_bytes)))

    async def cancel(self, node: str) -> None:
        """Want no more of it."""
        (run,) = self.runs
        await self._caller.nc.publish(self._caller.subjects.cancel(node), encode_cancel(Cancel(run)))


@pytest.fixture
async def raw(nats_url: str, subjects: Subjects) -> AsyncIterator[RawCaller]:
    """A caller with nothing of ours."""
    nc = await nats.connect(nats_url)
    yield RawCaller(nc, subjects)
    await nc.close()


@pytest.fixture(scope="session")
def mp3_second() -> bytes:
    """One second of mp3, to be repeated for as much as a test needs."""
    encoder = Mp3Encoder(22050, 22050, 64_000)
    return encoder.encode(bytes(2 * 22050)) + encoder.flush()


@pytest.fixture
def long_file(tmp_path: Path, mp3_second: bytes) -> LongFile:
    """An mp3 of 2 MiB."""
    path = tmp_path / "long.mp3"
    audio = mp3_second * (2 * MIB // len(mp3_second))
    path.write_bytes(audio)
    return LongFile(str(path).encode(), audio)


class Notes:
    """What an engine of batches.py has written down, in lines of the file BATCHES."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> list[dict[str, Any]]:
        """Return all events."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []

    def batches(self) -> list[list[str]]:
        """Return the texts of each batch."""
        return [event["texts"] for event in self.all() if "texts" in event]

    async def until(self, **event: Any) -> None:
        """Return when there is an event with these values."""
        await soon(lambda: any(event.items() <= each.items() for each in self.all()), f"{event} is noted")


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Notes:
    """What the engine writes down."""
    path = tmp_path / "notes"
    monkeypatch.setenv("BATCHES", str(path))
    return Notes(path)
