"""Keeps an engine process alive and takes one utterance at a time from it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import replace
from time import monotonic
from typing import Any, Final

import structlog

from antiphon.errors import EngineCrashed
from synth_node.built_in import BUILT_IN
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest, EngineUnavailable, NotStarted, Speaking
from synth_node.process.engine import EngineProcess, Frame
from synth_node.process.options import EngineOptions
from synth_node.process.utterance import Utterance
from synth_node.process.wear import Wear
from synth_node.process.work import Work
from synth_node.working_time import MeanPerCharacter

MIN_BACK_OFF_S: Final = 0.1
MAX_BACK_OFF_S: Final = 10.0
MIN_STOP_S: Final = 0.1
"""What an engine gets at least to stop after a cancel, before it is killed."""
QUIT_S: Final = 1.0
"""What an engine gets to close itself."""
_log: Final = structlog.get_logger("synth_node")


class EngineHost:
    """Keeps one engine process alive and has it do one work at a time.

    It is a context manager, to be entered and left by the same task. spec: see subjects.model_name.
    batches: it is given batches only.
    """

    def __init__(self, spec: str, *, slot: int, options: EngineOptions, batches: bool = False) -> None:
        self._spec = spec
        self._options = options
        self._batches = batches
        built_in = BUILT_IN.get(spec)
        self._built_in = None if built_in is None else built_in.child
        # An engine of ours needs our environment, one of the user's may need another.
        own_python = built_in is None or built_in.own_python
        self._python = options.python if options.python is not None and own_python else sys.executable
        self._log = _log.bind(slot=slot)
        self._wear = Wear(options)
        self._slot = slot
        self._process: EngineProcess | None = None
        self._current: Work | None = None
        self._number = 0
        self._free = asyncio.Event()
        self._overdue: asyncio.TimerHandle | None = None
        self._interruptible = False
        self._mean = MeanPerCharacter()
        self.start_up_s = 0.0
        """From the start of the process to its readiness, its warm-up included, the last time."""
        self.info: EngineInfo
        """What the engine said of itself when it started the last time."""

    async def __aenter__(self) -> EngineHost:
        """Start the engine. Raises EngineUnavailable."""
        await self._start()
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._keeper = self._tasks.create_task(self._keep_alive(), name=f"engine-{self._slot}")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Let an idle engine close itself; kill one that does not."""
        self._free.clear()
        self._keeper.cancel()
        self._forget_overdue()
        try:
            await self._tasks.__aexit__(None, None, None)
        finally:
            process = self._process
            if process is not None:
                self._process = None
                if self._current is None:
                    process.send("Q", 0)
                    await process.wait(QUIT_S)
                await process.end("the node stops")
                if self._current is not None:
                    self._current.fail(EngineCrashed("the node stops"))

    @property
    def seconds_per_character(self) -> float:
        """The engine's own time, a moving mean; 0.0 until measured."""
        return self._mean.seconds

    @property
    def pid(self) -> int | None:
        """Number of the engine's process; None while it is being restarted."""
        return None if self._process is None else self._process.pid

    @property
    def is_ready(self) -> bool:
        """Whether the engine is up and free for an utterance, and certainly not worn."""
        return self.is_free and self._wear.is_known

    async def ready(self) -> None:
        """Return when the engine is up and free for an utterance; a worn one is replaced first."""
        while True:
            await self.free()
            process = self._process
            assert process is not None
            why = await self._wear.why(process.pid)
            if not self.is_free or self._process is not process:
                continue
            if why is None:
                return
            self._log.info("engine gets a new process", reason=why)
            self._free.clear()
            process.retire(QUIT_S)

    async def free(self) -> None:
        """Return when the engine is up and free for a segment."""
        while not self.is_free:
            self._free.clear()
            await self._free.wait()

    @property
    def is_free(self) -> bool:
        """Whether the engine is up and at nothing, worn or not."""
        return self._free.is_set() and self._process is not None and self._process.alive()

    def unready(self) -> asyncio.Future[None]:
        """Return what is done when the engine has ended."""
        if self._process is not None:
            return self._process.ended
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended.set_result(None)
        return ended

    def speak(self, request: EngineRequest) -> Utterance:
        """Start an utterance; only when ready. The caller must call `leave` with it in the end."""
        utterance = Utterance(
            self.process,
            self.number(),
            n_characters=len(request.text),
            idle_s=self._options.idle_s,
            bound_s=self.bound_s(len(request.text)),
        )
        self.begin(utterance, "S", self.order(request))
        return utterance

    def begin(self, work: Work, kind: str, order: object) -> None:
        """Start `work`; only when ready. The caller must call `leave` with it in the end.

        kind, order: of the frame that tells the engine, as JSON.
        """
        assert self._current is None
        self._free.clear()
        self._current = work
        self._wear.spoke(work.n_segments)
        self.process.send(kind, work.number, json.dumps(order).encode())

    @property
    def process(self) -> EngineProcess:
        """The running process; only when ready."""
        assert self._process is not None
        return self._process

    def bound_s(self, n_characters: int) -> float:
        """Return how long the engine may work on so much text, in seconds."""
        return self._options.segment_s + self._options.segment_s_per_character * n_characters

    def number(self) -> int:
        """Return the number of the next utterance or batch."""
        self._number = self._number % 0xFFFF_FFFF + 1
        return self._number

    def order(self, request: EngineRequest) -> dict[str, Any]:
        """Return what the engine is told of a request."""
        if request.voice is None:
            request = replace(request, voice=self._options.voice)
        return request.for_engine()

    def leave(self, work: Speaking | Work) -> None:
        """Want no more of `work`; if the engine is still at it, it is cancelled.

        It finishes unheard if it ends within the time that a restart would take; else it is killed, at once
        if that can be foretold. Until then the engine is not ready.
        """
        process, current = self._process, self._current
        if current is None or current is not work or process is None or process.ended.done():
            return
        if self._overdue is not None:  # it has been left; a second timer would outlive the work
            return
        process.send("C", current.number)
        current.drop()
        patience_s = max(self.start_up_s, MIN_STOP_S)
        expected_s = self.seconds_per_character * current.n_characters - current.working_s
        if expected_s > patience_s and not (self._interruptible or current.streamed):
            process.kill("a cancelled call would have gone on")
        else:
            loop = asyncio.get_running_loop()
            why = "a cancelled utterance went on"
            self._overdue = loop.call_later(patience_s, process.kill, why)

    def _on_frame(self, frame: Frame) -> None:
        """Take what the engine sent. Raises ValueError for nonsense."""
        current = self._current
        if current is None:
            raise ValueError("a frame of no utterance")
        if not current.take(frame):
            return
        self._interruptible = self._interruptible or current.streamed
        if self._overdue is None and current.succeeded:
            self._mean.add(current.working_s, current.n_characters)
        self._forget_overdue()
        self._current = None
        process = self._process
        if process is not None:
            process.resume()
            if not process.ended.done():
                self._free.set()

    def _forget_overdue(self) -> None:
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    async def _start(self) -> None:
        options = {
            "spec": self._spec,
            "built_in": self._built_in,
            "settings": dict(self._options.settings),
            "voice": self._options.voice,
            "warm_up": self._options.warm_up,
            "batches": self._batches,
            "parent": os.getpid(),
        }
        started_at = monotonic()
        process = await EngineProcess.start(
            self._python, options, self._on_frame, self._log, self._options.env
        )
        try:
            description = await process.ready(self._options.start_s)
            await self._wear.check_start(process.pid)
        except BaseException:
            await process.end("it did not start")
            raise
        self._interruptible = self._interruptible or bool(description.get("interruptible"))
        self.start_up_s = monotonic() - started_at
        self.info = EngineInfo.read(description, start_up_s=self.start_up_s)
        self._process = process
        self._free.set()

    async def _keep_alive(self) -> None:
        """Restart the engine whenever it ends."""
        while True:
            process = self._process
            assert process is not None
            await self._wear.watch(process)
            self._free.clear()
            why = await process.end("")
            self._process = None
            self._forget_overdue()
            if not process.retired:
                self._log.warning("engine ended", reason=why, busy=self._current is not None)
            if self._current is not None:
                unstarted = process.untaken and not self._current.begun
                self._current.fail(NotStarted(why) if unstarted else EngineCrashed(why))
                self._current = None
            await self._restart()

    async def _restart(self) -> None:
        back_off_s = MIN_BACK_OFF_S
        while True:
            try:
                await self._start()
            except (EngineUnavailable, OSError) as exc:
                self._log.error("engine does not start", reason=str(exc), again_in_s=back_off_s)
                await asyncio.sleep(back_off_s)
                back_off_s = min(2 * back_off_s, MAX_BACK_OFF_S)
            else:
                self._wear.renew()
                self._log.info("engine restarted", start_up_s=round(self.start_up_s, 3))
                return
