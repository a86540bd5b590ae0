"""Any program as an engine: it is run once for each text, and its output is the audio.

Runs in the engine's process: standard library only.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from types import SimpleNamespace
from typing import Any

from . import program
from .command_line import SPEEDS, fill, placeholders
from .scratch import Scratch
from .user import Refused

SAFE_VOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+@-]{0,99}")
"""A voice that nobody has listed: neither an option nor a path."""


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
        # Many a program takes a NUL for the end.
        text = request.text.replace("\0", " ").encode("utf-8", "replace")
        output = self._output()
        arguments = fill(self._command, text=text.decode(), voice=voice, speed=request.speed, output=output)
        stdin = None if "text" in self._used else text
        try:
            program.run(arguments, stdin, emit, audio_on_stdout=output is None)
            if output is not None:
                _emit_file(output, emit)
        finally:
            if self._scratch is not None:
                self._scratch.clear()

    def _output(self) -> str | None:
        """Return where the program has to write its audio, if not to its standard output."""
        try:
            return None if self._scratch is None else self._scratch.path("speech.wav")
        except OSError as exc:  # perhaps of this machine only
            raise program.Failed("engine_crashed", f"no place for {{output}}: {exc.strerror}") from None

    def close(self) -> None:
        """Remove what was written to."""
        if self._scratch is not None:
            self._scratch.close()


def _emit_file(path: str, emit: Any) -> None:
    """Emit what the program wrote; what is no file could block, and a link could lead anywhere."""
    try:
        with open(path, "rb", opener=_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _unreadable("it is no file")
            while piece := file.read(program.READ_BYTES):
                emit(piece)
    except FileNotFoundError:
        raise program.Failed("engine_failed", "the program ended well but wrote no {output}") from None
    except OSError as exc:
        raise _unreadable("it is a link" if exc.errno == errno.ELOOP else f"{exc.strerror}") from None


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _unreadable(why: str) -> program.Failed:
    return program.Failed("engine_failed", f"the program's {{output}} cannot be read: {why}")
