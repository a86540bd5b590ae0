"""Speaks for a slot with an engine behind the network, on the node's loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Final

import structlog

from antiphon.errors import EngineCrashed, SpeechError, UnknownVoice
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest, EngineUnavailable, EngineWord, Speaking
from synth_node.network.engine import NetworkEngine, Unreachable
from synth_node.network.throttle import Throttle
from synth_node.working_time import MeanPerCharacter, WorkingTime

MAX_BUFFERED_BYTES: Final = 1024 * 1024
"""Of one utterance's audio that wait here; past it the engine is not asked for more."""
MIN_PROBE_S: Final = 1.0
MAX_PROBE_S: Final = 60.0
_log: Final = structlog.get_logger("synth_node")


class Network:
    """The one engine that all slots of a node share; to be entered before the first of them starts.

    opened: set as soon as the first probe has succeeded.
    on_return: called after each later one, for what the engine says of itself may have changed.
    """

    def __init__(
        self, engine: NetworkEngine, throttle: Throttle, on_return: Callable[[EngineInfo], None]
    ) -> None:
        self.engine = engine
        self.throttle = throttle
        self.opened = asyncio.Event()
        self._on_return = on_return

    async def __aenter__(self) -> Network:
        """Open the engine; somebody has to run `keep_open`."""
        await self.engine.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        self.throttle.close()
        await self.engine.__aexit__(*exc_info)

    async def keep_open(self) -> None:
        """Probe the engine until it can speak: before the first slot joins, and whenever it has paused.

        Raises:
            EngineUnavailable: before it ever could, and it is the settings' fault.
        """
        requested = self.throttle.pause_requested
        while True:
            await requested.wait()
            requested.clear()
            await asyncio.sleep(self.throttle.pause_s)
            again_in_s = MIN_PROBE_S
            # Meanwhile what was still at work may have learnt of a longer pause.
            while not requested.is_set() and not await self._probed(again_in_s):
                await asyncio.sleep(again_in_s)
                again_in_s = min(2 * again_in_s, MAX_PROBE_S)

    async def _probed(self, again_in_s: float) -> bool:
        try:
            await self.engine.probe()
        except EngineUnavailable as exc:
            if not self.opened.is_set():
                raise
            self.throttle.stay_paused(str(exc), for_s=again_in_s)
            _log.error("the engine cannot speak", reason=str(exc), again_in_s=again_in_s)
        except Unreachable as exc:
            self.throttle.stay_paused(str(exc), for_s=again_in_s)
            _log.warning("the engine's server is not reachable", reason=str(exc), again_in_s=again_in_s)
        else:
            if self.opened.is_set():
                self._on_return(self.engine.info)
            if not self.throttle.pause_requested.is_set():
                self.throttle.open()
            self.opened.set()
            return True
        return False


class NetworkUtterance:
    """One utterance on its way from the network to whoever listens. working: without the time in `put`."""

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate: int | None = sample_rate
        self.task: asyncio.Task[None]
        self.failure: SpeechError | None = None
        self.ended = False
        self.working = WorkingTime()
        self._pieces: deque[bytes] = deque()
        self._n_buffered = 0
        self._changed = asyncio.Event()

    async def next(self) -> bytes | None:
        """Return what audio is there, waiting for the first of it; None at the end. Raises SpeechError."""
        while not self._pieces:
            if self.failure is not None:
                raise self.failure
            if self.ended:
                return None
            await self._change()
        piece = b"".join(self._pieces) if len(self._pieces) > 1 else self._pieces[0]
        self._pieces.clear()
        self._n_buffered = 0
        self._changed.set()
        return piece

    def take_words(self) -> list[EngineWord]:
        """Return none: such engines do not tell when words are heard."""
        return []

    async def put(self, piece: bytes) -> None:
        """Add what comes next; wait while there is enough."""
        if piece:
            self._pieces.append(piece)
            self._n_buffered += len(piece)
            self._changed.set()
        self.working.stop()
        while self._n_buffered > MAX_BUFFERED_BYTES:
            await self._change()
        self.working.run()

    def end(self, failure: SpeechError | None = None) -> None:
        """Nothing more comes; with a failure, what is there is not the whole."""
        self.ended, self.failure = True, failure
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


class NetworkHost:
    """A slot's share of an engine behind the network. voice: for requests that name none."""

    def __init__(self, network: Network, *, slot: int, voice: str | None) -> None:
        self._engine = network.engine
        self._throttle = network.throttle
        self._opened = network.opened
        self._voice = voice
        self._slot = slot
        self._current: NetworkUtterance | None = None
        self._unready: asyncio.Future[None] | None = None
        self._mean = MeanPerCharacter()

    async def __aenter__(self) -> NetworkHost:
        """Wait until the engine can speak. Raises EngineUnavailable if it has no such default voice."""
        await self._opened.wait()
        if self._voice is not None:
            try:
                self._known(self._voice)
            except UnknownVoice:
                name = self.info.name
                raise EngineUnavailable(
                    f"{name} has no voice {self._voice!r}, which is to be the default"
                ) from None
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Cancel what still runs."""
        if self._current is not None:
            self._current.task.cancel()
        self._throttle.give_back(self)
        await self._tasks.__aexit__(None, None, None)

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""
        return self._engine.info

    @property
    def seconds_per_character(self) -> float:
        """The engine's own time, a moving mean; 0.0 until measured."""
        return self._mean.seconds

    @property
    def is_ready(self) -> bool:
        """Whether the slot has a place that it may keep, and its last utterance is over."""
        return self._current is None and self._throttle.may_keep_place(self)

    async def ready(self) -> None:
        """Return when the last utterance is over and there is a place for the next one."""
        while not self.is_ready:
            await self._last_is_over()
            self._throttle.give_back_excess(self)
            await self._throttle.take_place(self, self._withdraw)

    async def free(self) -> None:
        """Return when the last segment is over.

        An utterance under way waits for no place: it has a slot already, and only its turn at the server
        counts. Raises Draining while the engine is paused: another node speaks the rest.
        """
        self._unready = None
        await self._last_is_over()
        self._throttle.check_open()

    async def _last_is_over(self) -> None:
        while self._current is not None:
            await asyncio.wait({self._current.task})

    def unready(self) -> asyncio.Future[None]:
        """Return what is done when the place had to be given back."""
        self._unready = asyncio.get_running_loop().create_future()
        if not self._throttle.may_keep_place(self):
            self._withdraw()
        return self._unready

    def _withdraw(self) -> bool:
        """Give the place back if the slot is idle; one with an utterance does that behind it, in `ready`."""
        if self._unready is None or self._unready.done():
            return False
        self._throttle.give_back(self)
        self._unready.set_result(None)
        return True

    def speak(self, request: EngineRequest) -> NetworkUtterance:
        """Start an utterance; only when free."""
        assert self._current is None
        utterance = NetworkUtterance(self.info.sample_rate or 0)
        self._current = utterance
        work = self._speak(utterance, replace(request, voice=request.voice or self._voice))
        utterance.task = self._tasks.create_task(work, name=f"engine-{self._slot}")
        utterance.task.add_done_callback(self._over)
        return utterance

    def leave(self, utterance: Speaking) -> None:
        """Want no more of `utterance`."""
        if self._current is utterance:
            self._current.task.cancel()

    def _over(self, _: asyncio.Task[None]) -> None:
        self._current = None

    def _known(self, voice: str) -> str:
        """Return the engine's own name of a voice. Raises UnknownVoice."""
        info = self.info
        known = info.aliases.get(voice, voice)
        if info.voices and all(known != each.id for each in info.voices):
            raise UnknownVoice(f"there is no voice {voice!r}", param="voice")
        return known

    async def _speak(self, utterance: NetworkUtterance, request: EngineRequest) -> None:
        utterance.working.run()
        try:
            if request.voice is not None:
                request = replace(request, voice=self._known(request.voice))
            async with aclosing(self._engine.speak(request)) as pieces:
                async for piece in pieces:
                    await utterance.put(piece)
        except SpeechError as exc:
            utterance.end(exc)
        except Exception:
            _log.exception("unexpected failure in the engine", slot=self._slot)
            utterance.end(EngineCrashed("unexpected failure in the engine; the node's log says more"))
        else:
            self._mean.add(utterance.working.seconds, len(request.text))
            utterance.end()
