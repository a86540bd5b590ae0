"""Runs a program once, with everything that it starts. Standard library only."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from contextlib import ExitStack
from time import monotonic
from typing import IO, Any

from .session import kill_session

LINGER_S = 1.0
"""Longest time without audio of what a program that has ended left behind with its output in hand."""
READ_BYTES = 64 * 1024
MESSAGE_CHARACTERS = 500


class Failed(Exception):
    """The program has failed; `antiphon_code` says whether it may be tried elsewhere."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.antiphon_code = code


def run(arguments: list[bytes], text: bytes | None, emit: Any, *, audio_on_stdout: bool) -> None:
    """Run a program to its end; of this session nothing is left then but this process.

    text: for its standard input, if any. Its standard error, and its standard output if that is not the
    audio, go to the log. To be called in the main thread. Raises Failed.
    """
    with ExitStack() as opened:
        messages, messages_end = _pipe(opened)
        woken, wake = _pipe(opened)
        os.set_blocking(wake.fileno(), False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the end of the program writes to `wake`
        opened.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(wake.fileno()))
        try:
            process = opened.enter_context(
                subprocess.Popen(
                    arguments,
                    bufsize=0,
                    stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                    stdout=subprocess.PIPE if audio_on_stdout else messages_end,
                    stderr=messages_end,
                    process_group=0,  # a script that signals its group must not hit this process
                )
            )
        except OSError as exc:  # perhaps of this machine only
            raise Failed("engine_crashed", f"{_name(arguments)} cannot be run: {exc.strerror}") from None
        opened.callback(kill_session, os.getpid())
        messages_end.close()
        selector = opened.enter_context(selectors.DefaultSelector())
        running = _Running(process, selector, messages, woken, text, emit)
        running.finish()
        if process.returncode:
            raise _failure(_name(arguments), process.returncode, running.said)


def _pipe(opened: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Return both ends of a pipe; the first does not block."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    return opened.enter_context(open(read, "rb", 0)), opened.enter_context(open(write, "wb", 0))


class _Running:
    """A program at work. said: the end of its messages."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        selector: selectors.BaseSelector,
        messages: IO[bytes],
        woken: IO[bytes],
        text: bytes | None,
        emit: Any,
    ) -> None:
        self.said = b""
        self._process = process
        self._selector = selector
        self._messages = messages
        self._woken = woken
        self._text = text
        self._emit = emit
        selector.register(emit, selectors.EVENT_READ, self._check_cancel)
        selector.register(messages, selectors.EVENT_READ, self._read_messages)
        selector.register(woken, selectors.EVENT_READ, self._wake)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, self._write_text)
        if process.stdout is not None:
            selector.register(process.stdout, selectors.EVENT_READ, self._read_audio)

    def finish(self) -> None:
        """Emit what it gives, until it has ended and its output is closed, or gives nothing after its end."""
        self._check_cancel()
        while self._process.poll() is None:
            self._wait(None)
        audio = self._process.stdout
        ends_at = monotonic() + LINGER_S
        while not self._process.returncode and audio is not None and not audio.closed:
            if self._wait(max(0.0, ends_at - monotonic())):
                ends_at = monotonic() + LINGER_S
            elif monotonic() >= ends_at:
                break
        self._read_messages()

    def _wait(self, timeout_s: float | None) -> bool:
        """Do what can be done within the time; return whether there was audio."""
        events = self._selector.select(timeout_s)
        for key, _ in events:
            key.data()
        return any(key.fileobj is self._process.stdout for key, _ in events)

    def _wake(self) -> None:
        self._woken.read(READ_BYTES)

    def _check_cancel(self) -> None:
        if self._emit.cancelled():
            self._emit.cancel()

    def _write_text(self) -> None:
        assert self._process.stdin is not None
        assert self._text is not None
        try:
            self._text = self._text[os.write(self._process.stdin.fileno(), self._text[:READ_BYTES]) :]
        except BrokenPipeError:  # it has heard enough
            self._text = b""
        if not self._text:
            self._selector.unregister(self._process.stdin)
            self._process.stdin.close()

    def _read_audio(self) -> None:
        assert self._process.stdout is not None
        piece = os.read(self._process.stdout.fileno(), READ_BYTES)
        if piece:
            self._emit(piece)
        else:
            self._selector.unregister(self._process.stdout)
            self._process.stdout.close()

    def _read_messages(self) -> None:
        """Pass what it prints on to the log, and keep the end of it."""
        data = None if self._messages.closed else self._messages.read(READ_BYTES)
        if data:
            self.said = (self.said + data)[-4 * MESSAGE_CHARACTERS :]
            while data:  # a signal may cut a write short
                data = data[os.write(sys.stderr.fileno(), data) :]
        elif data is not None:
            self._selector.unregister(self._messages)
            self._messages.close()


def _failure(name: str, status: int, said: bytes) -> Failed:
    text = said.decode(errors="replace")
    printable = "".join(character if character.isprintable() else " " for character in text)
    words = " ".join(printable.split())[-MESSAGE_CHARACTERS:]
    if status > 0:
        code, how = "engine_failed", f"ended with exit status {status}"
    else:
        code, how = "engine_crashed", f"died of {_signal_name(-status)}"
    return Failed(code, f"{name} {how}" + (f": {words}" if words else ""))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _name(arguments: list[bytes]) -> str:
    return os.fsdecode(os.path.basename(arguments[0]))
