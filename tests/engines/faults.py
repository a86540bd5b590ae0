"""Engines that misbehave; the text says how."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

SECOND = bytes(2 * 8000)


def misbehave(text: str) -> Any:
    """Do what `text` says: `<deed>` or `<deed> <argument>`."""
    deed, _, argument = text.partition(" ")
    return globals()[f"_{deed}"](argument)


misbehave.sample_rate = 8000  # type: ignore[attr-defined]


def _fine(_: str) -> bytes:
    return SECOND


def _exit(status: str) -> None:
    os._exit(int(status))


def _system_exit(status: str) -> None:
    sys.exit(int(status))


def _segfault(_: str) -> None:
    ctypes.string_at(0)


def _memory(_: str) -> None:
    raise MemoryError


def _raise(message: str) -> None:
    raise ValueError(message)


def _surrogate(_: str) -> None:
    raise ValueError("\udcff")


def _return(expression: str) -> Any:
    return eval(expression)


def _array(typecode: str) -> Any:
    from array import array

    return [array(typecode, [0] * 8000)]


def _nothing(_: str) -> Iterator[bytes]:
    return iter(())


def _hang(_: str) -> None:
    time.sleep(3600)


def _hang_in_c(_: str) -> None:
    silent = os.pipe()[0]
    # It holds the interpreter's lock, and no signal that is handled ends it.
    ctypes.PyDLL(None).read(silent, ctypes.create_string_buffer(1), 1)


def _hang_later(_: str) -> Iterator[bytes]:
    yield SECOND
    time.sleep(3600)


def _raise_later(_: str) -> Iterator[bytes]:
    yield SECOND
    raise RuntimeError("half way")


def _exit_later(_: str) -> Iterator[bytes]:
    yield SECOND
    os._exit(3)


def _nonsense(hexadecimal: str) -> bytes:
    """Write to every socket that is open."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, bytes.fromhex(hexadecimal))
        except OSError:
            continue
    time.sleep(3600)
    return b""


def _print(line: str) -> bytes:
    print(line)  # noqa: T201
    print("to stderr", file=sys.stderr)  # noqa: T201
    os.write(1, b"to the descriptor\n")
    ctypes.CDLL(None).puts(b"from C")
    subprocess.run([sys.executable, "-c", "print('from a helper')"], check=True)
    print("x" * 10_000)  # noqa: T201
    return SECOND


def _flood(piece: str) -> bytes:
    """Print 32 MiB of the same piece, given as a literal."""
    data = eval(piece) * (65536 // len(eval(piece)))
    for _ in range(512):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
    return SECOND


def _stdin(_: str) -> bytes:
    assert sys.stdin.read() == ""
    return SECOND


def _pid(path: str) -> bytes:
    Path(path).write_text(str(os.getpid()))
    return SECOND


def _pid_of_helper(path: str) -> bytes:
    """Start one in a group of its own, as `timeout` and shells do."""
    Path(path).write_text(str(subprocess.Popen(["sleep", "600"], process_group=0).pid))
    return SECOND


def _die_beside_a_fork(_: str) -> None:
    """Leave a copy of this process behind, as multiprocessing does."""
    if os.fork() == 0:
        time.sleep(600)
    os.kill(os.getpid(), signal.SIGKILL)


def _pid_and_hang(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(3600)


def _pid_and_hang_in_c(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    _hang_in_c("")


def _sleep(seconds: str) -> bytes:
    time.sleep(float(seconds))
    return SECOND


def _stream(seconds: str) -> Iterator[bytes]:
    """Endless, a piece every so often."""
    while True:
        yield SECOND
        time.sleep(float(seconds))


def _count(path: str) -> Iterator[bytes]:
    """Endless; tells how many pieces were taken."""
    for n in range(1_000_000):
        Path(path).write_text(str(n))
        yield SECOND


def _nice(_: str) -> bytes:
    assert os.nice(0) >= 5
    return SECOND


def _modules(_: str) -> bytes:
    """Nothing of Antiphon's stands where it would shadow a module of the user."""
    assert not any(path.rstrip("/").endswith("synth_node") for path in sys.path), sys.path
    assert os.getcwd() in sys.path
    return SECOND


def _arguments(_: str) -> bytes:
    """A module that reads the command line is not given ours."""
    assert len(sys.argv) == 1, sys.argv
    return SECOND


async def endless(text: str) -> bytes:
    """Blocks nothing, never ends."""
    await asyncio.sleep(3600)
    return b""


async def endless_pieces(text: str) -> AsyncIterator[bytes]:
    while True:
        yield SECOND
        await asyncio.sleep(3600)


endless_pieces.sample_rate = 8000  # type: ignore[attr-defined]


class SlowStart:
    """Takes half a second to start; then as long as the text says."""

    sample_rate = 8000

    def __init__(self) -> None:
        time.sleep(0.5)

    def synthesize(self, request: Any) -> Any:
        return misbehave(request.text)
