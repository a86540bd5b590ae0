"""Runs other programs: restarts what dies, relays what they print, stops them in order."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from antiphon.cli.console import Console

CONFIGURATION_ERROR: Final = 2
"""Exit code of a program whose settings are wrong: starting it again would change nothing."""

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)
_RESTART_WAIT_S: Final = (0.2, 10.0)  # first and longest; doubled each time
_HEALTHY_AFTER_S: Final = 30.0  # a program that ran this long starts again with the first wait
_HOLD_LINE_S: Final = 1.0
_LAST_WORDS_S: Final = 1.0
_MAX_LINE_BYTES: Final = 64 * 1024


class StartFailed(Exception):
    """A program cannot be started at all; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Program:
    """One program to keep running.

    name: shown before its lines. environment: all of it. grace_s: time from SIGTERM to SIGKILL.
    readable: turns a line of its output into one for people; None drops it.
    remedy: called with its last line when it fails at the start; True if it may work when started again.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    grace_s: float
    readable: Callable[[str], str | None] = lambda line: line
    remedy: Callable[[str], bool] = lambda last_line: False


class Supervised:
    """One program under supervision, for as long as `run` runs.

    pid: of the process that runs now; None between two. started: the first process has been made.
    """

    def __init__(self, program: Program, console: Console, failed: asyncio.Future[StartFailed]) -> None:
        self.program = program
        self.pid: int | None = None
        self.started = asyncio.Event()
        self._console = console
        self._failed = failed
        self._settled = False
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._last_line = ""
        self._held: str | None = None

    async def run(self) -> None:
        """Keep the program running until `stop`, or until it turns out that it cannot be started."""
        shortest_s, longest_s = _RESTART_WAIT_S
        wait_s, first = shortest_s, True
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            began = loop.time()
            code = await self._run_once()
            if self._stopping.is_set() or self._failed.done():
                return
            if code > 0 and (not self._settled or (first and code == CONFIGURATION_ERROR)):
                if self.program.remedy(self._last_line):
                    continue
                self._failed.set_result(
                    StartFailed(self._last_line or f"{self.program.name}: {_ending(code)}")
                )
                return
            self._print_held()
            if loop.time() - began > _HEALTHY_AFTER_S:
                wait_s = shortest_s
            self._note(f"{self.program.name} ended ({_ending(code)}); starting it again in {wait_s:g} s")
            await _set_within(self._stopping, wait_s)
            wait_s, first = min(wait_s * 2, longest_s), False

    def settle(self) -> None:
        """From now on the program is known to work: whatever ends it, it is started again."""
        self._settled = True
        self._print_held()

    async def stop(self, *, at_once: asyncio.Event) -> None:
        """Ask the program to end and wait for it; kill it after its grace, or when `at_once` is set."""
        self._stopping.set()
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        async with asyncio.TaskGroup() as tasks:
            ended = tasks.create_task(self._process.wait())
            hurry = tasks.create_task(at_once.wait())
            await asyncio.wait(
                (ended, hurry), timeout=self.program.grace_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended.done():
                if not hurry.done():
                    self._note(
                        f"{self.program.name} did not end within {self.program.grace_s:g} s; killing it"
                    )
                self._signal(signal.SIGKILL)
            hurry.cancel()

    async def _run_once(self) -> int:
        """Run one process from start to end; return its exit code (negative: the signal that ended it)."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self.program.command,
                env=dict(self.program.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_MAX_LINE_BYTES,
                # Ctrl-C goes to the whole foreground group; the order of the shutdown is ours.
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        except OSError as exc:
            self._last_line = f"{self.program.name} cannot be started: {exc.strerror}."
            return CONFIGURATION_ERROR
        self._process, self.pid = process, process.pid
        self.started.set()
        assert process.stdout is not None
        try:
            if self._stopping.is_set():  # it was being made when the stop came
                self._signal(signal.SIGKILL)
            async with asyncio.TaskGroup() as tasks:
                relay = tasks.create_task(self._relay(process.stdout))
                code = await process.wait()
                # What it started may still hold its output open.
                await asyncio.wait((relay,), timeout=_LAST_WORDS_S)
                relay.cancel()
            return code
        finally:
            self.pid = None
            if process.returncode is None:
                self._signal(signal.SIGKILL)
                await process.wait()

    async def _relay(self, output: asyncio.StreamReader) -> None:
        """Print what the program prints. Before it works the last line is held back: it may say why not."""
        while True:
            try:
                async with asyncio.timeout(None if self._held is None else _HOLD_LINE_S):
                    line = await _read_line(output)
            except TimeoutError:
                self._print_held()
                continue
            if not line:
                break
            text = self.program.readable(line.decode(errors="replace").rstrip())
            if text:
                self._print_held()
                self._held = self._last_line = text
                if self._settled:
                    self._print_held()
        if (self._settled or self._stopping.is_set()) and not self._failed.done():
            self._print_held()

    def _print_held(self) -> None:
        if self._held is not None:
            self._console.line(self.program.name, self._held)
            self._held = None

    def _signal(self, signum: int) -> None:
        """Signal the program's process; it may be gone already."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                # Not send_signal(): it polls, and so takes the exit code away from asyncio.
                os.kill(self._process.pid, signum)

    def _note(self, text: str) -> None:
        self._console.line("antiphon", text)


class Supervisor:
    """Programs that run together. `failed` is done when one of them cannot be started at all.

    at_once: set it to kill instead of asking.
    """

    def __init__(self, console: Console, tasks: asyncio.TaskGroup) -> None:
        self.failed: asyncio.Future[StartFailed] = asyncio.get_running_loop().create_future()
        self.at_once = asyncio.Event()
        self._console = console
        self._tasks = tasks
        self._stages: list[list[Supervised]] = []

    def start(self, *programs: Program) -> list[Supervised]:
        """Start programs that belong together; what is started last is stopped first."""
        stage = [Supervised(program, self._console, self.failed) for program in programs]
        self._stages.append(stage)
        for supervised in stage:
            self._tasks.create_task(supervised.run(), name=f"supervise {supervised.program.name}")
        return stage

    def settle(self) -> None:
        """All programs are known to work from now on."""
        for supervised in self._all():
            supervised.settle()

    async def stop(self) -> None:
        """Stop stage after stage, the last started first; returns when all are gone."""
        for stage in reversed(self._stages):
            async with asyncio.TaskGroup() as stopping:
                for supervised in stage:
                    stopping.create_task(supervised.stop(at_once=self.at_once))

    def _all(self) -> Iterable[Supervised]:
        return (supervised for stage in self._stages for supervised in stage)


@asynccontextmanager
async def supervision(console: Console) -> AsyncIterator[Supervisor]:
    """Supervise programs; all of them are stopped at the end, whatever ends the block."""
    async with asyncio.TaskGroup() as tasks:
        supervisor = Supervisor(console, tasks)
        try:
            yield supervisor
        finally:
            await supervisor.stop()


async def _read_line(output: asyncio.StreamReader) -> bytes:
    """Return the next line, or a part of an overlong one; b"" at the end."""
    try:
        return await output.readuntil(b"\n")
    except asyncio.IncompleteReadError as exc:
        return exc.partial
    except asyncio.LimitOverrunError as exc:
        return await output.readexactly(exc.consumed)


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    """Wait until `event` is set, at most `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _die_with_parent(parent: int) -> Callable[[], None]:
    """Return what a child does between fork and exec, so that it never outlives us (kill -9)."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # we died before the call above
            os._exit(1)

    return prepare


def _ending(code: int) -> str:
    """Describe how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
