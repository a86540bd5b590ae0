"""One life of an engine process: its socket, its frames, its output, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from structlog.typing import FilteringBoundLogger

from synth_node.engines.session import kill_session
from synth_node.host import EngineUnavailable
from synth_node.process.child import HEADER, MAGIC
from synth_node.process.child import frame as frame_bytes
from synth_node.process.output import EngineOutput

CHILD: Final = Path(__file__).with_name("child.py")
MAX_FRAME_BYTES: Final = 4 * 1024 * 1024
OURS: Final = ("ANTIPHON_", "GATEWAY_", "NATS_", "SYNTH_", "XUNFEI_")
"""Beginnings of the variables that are ours; they may hold credentials, which are no engine's business."""
END_S: Final = 5.0
"""Bound on the wait for a killed process."""
ROOM: Final = 16
"""Descriptors that have to be free before a process is started; it takes eleven."""


class Frame(NamedTuple):
    """kind: a byte, see child.py. utterance: its number."""

    kind: int
    utterance: int
    payload: bytes


class EngineProcess(asyncio.Protocol):
    """A running engine process. `ended` is done as soon as it is of no more use; `end` then reaps it.

    untaken: it died without having read what was sent last. retired: it was asked to end.
    """

    def __init__(self, on_frame: Callable[[Frame], None]) -> None:
        self.untaken = False
        self.retired = False
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._ready: asyncio.Future[Frame] = loop.create_future()
        self._on_frame = on_frame
        self._rest = b""
        self._paused = False
        self._why = ""
        self._transport: asyncio.Transport
        self._output: asyncio.BaseTransport
        self._process: asyncio.subprocess.Process

    @classmethod
    async def start(
        cls,
        python: str,
        options: dict[str, Any],
        on_frame: Callable[[Frame], None],
        log: FilteringBoundLogger,
        env: Mapping[str, str],
    ) -> EngineProcess:
        """Start a process that runs child.py; it is not ready yet.

        Call it in the main thread: the process dies with the thread that started it. env: is added to
        our environment, of which it gets all but OURS.

        Raises:
            EngineUnavailable: there is no such interpreter, or no room for one more process.
        """
        ours, theirs, output, output_end = _ends()
        loop = asyncio.get_running_loop()
        self = cls(on_frame)
        try:
            self._process = await asyncio.create_subprocess_exec(
                python,
                str(CHILD),
                json.dumps({**options, "fd": theirs.fileno()}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                pass_fds=[theirs.fileno()],
                # Ctrl-C in a terminal must not reach it: the node drains. And its helpers die with it.
                start_new_session=True,
                env={**_not_ours(), "PYTHONUNBUFFERED": "1", **env},
            )
        except BaseException as exc:
            ours.close()
            os.close(output)
            if isinstance(exc, OSError):
                raise EngineUnavailable(f"the interpreter {python} cannot be run: {exc.strerror}") from exc
            raise
        finally:
            theirs.close()
            os.close(output_end)
        try:
            self._output, _ = await loop.connect_read_pipe(
                lambda: EngineOutput(log), os.fdopen(output, "rb", 0)
            )
            ours.setblocking(False)
            await loop.create_unix_connection(lambda: self, sock=ours)
        except BaseException:
            ours.close()
            self._signal()
            raise
        return self

    async def ready(self, timeout_s: float) -> dict[str, Any]:
        """Wait until the engine is loaded; return what it says of itself. Raises EngineUnavailable."""
        await asyncio.wait((self._ready, self.ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if self._ready.done():
            frame = self._ready.result()
            if frame.kind == ord("R"):
                return cast(dict[str, Any], json.loads(frame.payload))
            raise EngineUnavailable(frame.payload.decode(errors="replace"))
        if self.ended.done():
            raise EngineUnavailable(f"{await self.end('')} while it started; see its output in the log")
        raise EngineUnavailable(f"the engine was not ready within {timeout_s:g} s")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Cut the stream into frames; kill the process if it is none."""
        if self._rest:
            data = self._rest + data
        position, size = 0, len(data)
        try:
            while size - position >= HEADER.size:
                magic, kind, utterance, length = HEADER.unpack_from(data, position)
                if magic != MAGIC or length > MAX_FRAME_BYTES:
                    raise ValueError("no frame")
                end = position + HEADER.size + length
                if end > size:
                    break
                self._dispatch(Frame(kind, utterance, data[position + HEADER.size : end]))
                position = end
        except (ValueError, LookupError, TypeError) as exc:
            self.kill(f"the engine wrote nonsense: {exc}")
            return
        self._rest = data[position:] if position else data

    def _dispatch(self, frame: Frame) -> None:
        if self.ended.done():
            return
        if self._ready.done():
            self._on_frame(frame)
        elif frame.kind in b"RX":
            self._ready.set_result(frame)
        else:
            raise ValueError("a frame before it is ready")

    def connection_lost(self, exc: Exception | None) -> None:
        """The process is gone, or might as well be."""
        # A socket that is closed with unread bytes in it resets the connection.
        self.untaken = isinstance(exc, (ConnectionResetError, BrokenPipeError))
        if not self.ended.done():
            self.ended.set_result(None)

    def send(self, kind: str, utterance: int, payload: bytes = b"") -> None:
        """Send a frame to the engine."""
        self._transport.write(frame_bytes(kind, utterance, payload))

    @property
    def pid(self) -> int:
        """Its number, which is also that of its session."""
        return self._process.pid

    def pause(self) -> None:
        """Take nothing more; the engine blocks."""
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on after `pause`."""
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def alive(self) -> bool:
        """Return whether the process runs; its death is noticed here before its socket tells."""
        if self.ended.done():
            return False
        try:
            gone = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            gone = True
        if gone:
            self.ended.set_result(None)
        return not gone

    def kill(self, why: str) -> None:
        """Kill the process, and its helpers, now; `why` is for people."""
        if self.ended.done():
            return
        self._why = why
        self.ended.set_result(None)
        self._signal()

    def retire(self, within_s: float) -> None:
        """Let an idle engine close itself; it is killed if it does not."""
        self.retired = True
        self.send("Q", 0)
        asyncio.get_running_loop().call_later(within_s, self.kill, "it did not close itself")

    def _signal(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        kill_session(self._process.pid)  # helpers in groups of their own, also of a process that is dead

    async def wait(self, timeout_s: float) -> None:
        """Wait until the process has ended by itself."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._process.wait()

    async def end(self, why: str) -> str:
        """Kill the process unless it is dead, reap it and return why it ended."""
        if not self.ended.done():
            self.kill(why)
        elif not self._why:
            # Its socket closed: usually it is dying by itself, and its own status says more.
            await self.wait(0.2)
        self._signal()
        await self.wait(END_S)
        self._transport.close()
        self._output.close()
        return self._why or died_of(self._process.returncode)


def _ends() -> tuple[socket.socket, socket.socket, int, int]:
    """Return the ends of a socket and of a pipe. Raises EngineUnavailable."""
    try:
        _check_room()
        ours, theirs = socket.socketpair()
        try:
            return ours, theirs, *os.pipe()
        except OSError:
            ours.close()
            theirs.close()
            raise
    except OSError as exc:
        raise EngineUnavailable(f"the engine's process cannot be started: {exc.strerror}") from exc


def _check_room() -> None:
    """Raise OSError without room for ROOM descriptors: uvloop would leave open what it opened until then."""
    spare: list[int] = []
    try:
        while len(spare) < ROOM:
            spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    finally:
        for descriptor in spare:
            os.close(descriptor)


def _not_ours() -> dict[str, str]:
    """Return the variables that are not ours; settings are read without regard to case."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(OURS)}


def died_of(returncode: int | None) -> str:
    """Return how a process ended, for people."""
    if returncode is None:
        return "the engine closed its connection"
    if returncode < 0:
        try:
            return f"the engine died of {signal.Signals(-returncode).name}"
        except ValueError:
            return f"the engine died of signal {-returncode}"
    return f"the engine ended with exit status {returncode}"
