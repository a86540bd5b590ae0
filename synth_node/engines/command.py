"""Any program as an engine: it is run once for each text, and its output is the audio.

Runs in the engine's process: standard library only.
"""

from __future__ import annotations

import ctypes
import os
import re
import selectors
import shlex
import signal
import string
import subprocess
import sys
from contextlib import ExitStack
from time import monotonic
from types import SimpleNamespace
from typing import Any

from .scratch import Scratch
from .session import kill_session
from .user import Refused

SPEEDS = frozenset({"speed", "percent", "length_scale", "wpm"})
PLACEHOLDERS = frozenset({"text", "voice", "output"}) | SPEEDS
NORMAL_WORDS_PER_MINUTE = 175
SAFE_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{0,99}")
"""A voice that nobody has listed: neither an option nor a path."""
MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""Linux takes 32 pages for one argument and the NUL behind it."""
LINGER_S = 1.0
"""Longest silence of what a program that has ended left behind with its output in hand."""
POLL_S = 0.05
"""How often to look whether the program has ended, where the kernel cannot tell."""
READ_BYTES = 64 * 1024
MESSAGE_CHARACTERS = 500
OURS = ("NATS_", "GATEWAY_", "SYNTH_")
"""Beginnings of the variables that are ours; they may hold credentials."""
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """The program has failed; `antiphon_code` says whether it may be tried again."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.antiphon_code = code


def split_command(command: str) -> list[str]:
    """Split a command as a shell would, but without one; each part is a template.

    Raises:
        ValueError: unbalanced quotes or braces, or an unknown placeholder; a sentence says which.
    """
    try:
        parts = shlex.split(command)
    except ValueError as exc:
        raise ValueError(f"it cannot be split: {str(exc).lower()}") from None
    if not parts:
        raise ValueError("it names no program")
    for part in parts:
        try:
            fields = list(string.Formatter().parse(part))
        except ValueError:
            raise ValueError(
                f"{part!r} has an unbalanced brace; write {{{{ or }}}} for a literal one"
            ) from None
        for _, field, form, conversion in fields:
            if field is not None and (field not in PLACEHOLDERS or form or conversion):
                known = ", ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))
                raise ValueError(f"{part!r} has a placeholder that is not known; there are {known}")
    if placeholders(parts[:1]):
        raise ValueError("the program itself cannot be a placeholder")
    return parts


def placeholders(parts: list[str]) -> set[str]:
    """Return the placeholders that occur in templates."""
    return {field for part in parts for _, field, _, _ in string.Formatter().parse(part) if field}


class Engine:
    """Runs `command`, templates from split_command, for each text.

    voices: (id, name, language) each, the first is the default; without any, each that is safe.
    sample_rate: of the raw samples that the program gives, in Hz; None if it gives an audio file.
    """

    name = "command"

    def __init__(
        self,
        command: list[str],
        voices: list[tuple[str, str, str]] | None = None,
        sample_rate: int | None = None,
    ) -> None:
        self._command = command
        self._used = placeholders(command)
        self.voices = voices or []
        self.sample_rate = sample_rate
        self._scratch = Scratch("antiphon-command-") if "output" in self._used else None
        if sys.platform == "linux":
            # The kernel would kill this process alone. Nothing here blocks the thread that watches the node,
            # and that thread ends the program and what it has started, too.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)

    def has_voice(self, voice: str) -> bool:
        """Return whether `voice` is listed or, without a list, harmless as an argument."""
        if self.voices:
            return any(voice == known[0] for known in self.voices)
        return "voice" not in self._used or SAFE_VOICE.fullmatch(voice) is not None

    def speak_to(self, request: SimpleNamespace, emit: Any) -> None:
        """Run the program; emit its output as it comes."""
        if request.speed != 1 and not self._used & SPEEDS:
            raise Refused("invalid_request", "this model speaks at speed 1 only", "speed")
        voice = request.voice or (self.voices[0][0] if self.voices else None)
        if voice is None and "voice" in self._used:
            raise Refused("invalid_request", "this model has no default voice; name one", "voice")
        text = request.text.encode("utf-8", "replace").decode()
        output = None if self._scratch is None else self._scratch.path("speech.wav")
        values = {
            "text": text.replace("\0", " "),
            "voice": voice,
            "speed": f"{request.speed:g}",
            "percent": round(100 * request.speed),
            "length_scale": f"{1 / request.speed:.4g}",
            "wpm": round(NORMAL_WORDS_PER_MINUTE * request.speed),
            "output": output,
        }
        arguments = [_argument(part, values) for part in self._command]
        stdin = None if "text" in self._used else text.encode()
        try:
            with _Program(arguments, stdin, emit, audio_on_stdout=output is None) as program:
                program.run()
            if output is not None:
                _emit_file(output, emit)
        finally:
            if self._scratch is not None:
                self._scratch.clear()

    def close(self) -> None:
        """Remove what was written to."""
        if self._scratch is not None:
            self._scratch.close()


def _argument(template: str, values: dict[str, Any]) -> bytes:
    filled = template.format(**values)
    if template.startswith("{text}") and filled.startswith("-"):
        filled = f" {filled}"  # the text of a caller must not be an option
    argument = filled.encode("utf-8", "surrogateescape")
    if len(argument) > MAX_ARGUMENT_BYTES:
        limit = f"{MAX_ARGUMENT_BYTES} bytes can be given to a program as an argument"
        raise Refused("text_too_long", f"the text is too long: {limit}", "text")
    return argument


def _emit_file(path: str, emit: Any) -> None:
    try:
        with open(path, "rb") as file:
            while piece := file.read(READ_BYTES):
                emit(piece)
    except FileNotFoundError:
        raise Failed("engine_failed", "the program ended well but wrote no {output}") from None


class _Program:
    """One run of a program. At its end nothing that it has started is left in this session.

    text: for its standard input, if any. Of its outputs, audio is emitted, messages go to the log.
    """

    def __init__(
        self, arguments: list[bytes], text: bytes | None, emit: Any, *, audio_on_stdout: bool
    ) -> None:
        self._name = os.fsdecode(os.path.basename(arguments[0]))
        self._emit = emit
        self._text = text
        self._messages = b""
        self._opened = ExitStack()
        self._selector = self._opened.enter_context(selectors.DefaultSelector())
        messages, write_end = os.pipe()
        self._opened.callback(os.close, messages)
        try:
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
                stdout=subprocess.PIPE if audio_on_stdout else write_end,
                stderr=write_end,
                env={name: value for name, value in os.environ.items() if not name.upper().startswith(OURS)},
                process_group=0,  # a script that signals its group must not hit this process
            )
        except OSError as exc:
            self._opened.close()
            raise Failed("engine_failed", f"{self._name} cannot be run: {exc.strerror}") from None
        finally:
            os.close(write_end)
        self._listen(messages)

    def _listen(self, messages: int) -> None:
        process, selector = self._process, self._selector
        for pipe in filter(None, (process.stdin, process.stdout)):
            os.set_blocking(pipe.fileno(), False)
        os.set_blocking(messages, False)
        selector.register(self._emit.fileno(), selectors.EVENT_READ, self._check_cancel)
        selector.register(messages, selectors.EVENT_READ, self._read_messages)
        if process.stdin is not None:
            selector.register(process.stdin, selectors.EVENT_WRITE, self._write_text)
        if process.stdout is not None:
            selector.register(process.stdout, selectors.EVENT_READ, self._read_audio)
        self._messages_fd = messages
        self._end_fd: int | None = None
        if hasattr(os, "pidfd_open"):
            self._end_fd = os.pidfd_open(process.pid)
            self._opened.callback(os.close, self._end_fd)
            selector.register(self._end_fd, selectors.EVENT_READ, self._process.poll)

    def __enter__(self) -> _Program:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        kill_session(os.getpid())
        self._process.wait()
        for pipe in filter(None, (self._process.stdin, self._process.stdout)):
            pipe.close()
        self._opened.close()

    def run(self) -> None:
        """Emit what it gives until it has ended. Raises Failed."""
        self._check_cancel()
        heard_at = monotonic()
        while not self._is_over(heard_at):
            ended = self._process.returncode is not None
            # Of the silent ones, only those that an ended program left behind are hurried here.
            timeout_s = LINGER_S if ended else None if self._end_fd is not None else POLL_S
            for key, _ in self._selector.select(timeout_s):
                key.data()
                if key.data == self._read_audio:
                    heard_at = monotonic()
        self._read_messages()
        status = self._process.returncode
        if status:
            raise self._failure(status)

    def _is_over(self, heard_at: float) -> bool:
        if self._process.poll() is None:
            return False
        if self._end_fd is not None and self._end_fd in self._selector.get_map():
            self._selector.unregister(self._end_fd)
        stdout = self._process.stdout
        return stdout is None or stdout.closed or monotonic() >= heard_at + LINGER_S

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
        if self._messages_fd not in self._selector.get_map():
            return
        try:
            data = os.read(self._messages_fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            sys.stderr.buffer.write(data)
            sys.stderr.flush()
            self._messages = (self._messages + data)[-4 * MESSAGE_CHARACTERS :]
        else:
            self._selector.unregister(self._messages_fd)

    def _failure(self, status: int) -> Failed:
        text = self._messages.decode(errors="replace")
        printable = "".join(character if character.isprintable() else " " for character in text)
        said = " ".join(printable.split())[-MESSAGE_CHARACTERS:]
        if status > 0:
            code, how = "engine_failed", f"ended with exit status {status}"
        else:
            code, how = "engine_crashed", f"died of {_signal_name(-status)}"
        return Failed(code, f"{self._name} {how}" + (f": {said}" if said else ""))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
