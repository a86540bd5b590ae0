"""The test's side of tests/engines/race_engine.py: sees every utterance begin, and says how it goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from tests.conftest import GUARD_S, ROOT

ENGINE: Final = f"{ROOT / 'tests' / 'engines' / 'race_engine.py'}:told"
MODEL: Final = "told"
SOCKET: Final = "RACE_SOCKET"
_FRAME_HEADER: Final = bytes((0xFF, 0xF3, 0x40, 0xC4))
"""MPEG-2 Layer III, 32 kbit/s, 22.05 kHz, mono: a frame of 104 bytes."""
_FRAME_BYTES: Final = 104
_PIECES: Final = 3


class Speaking:
    """One utterance of one engine process. audio: what it was told to give so far, an mp3 frame per piece.

    number: of all utterances so far; it is in the audio, so that the audio of two runs differs.
    gone: set when the engine is done with it or dead.
    """

    def __init__(self, number: int, greeting: dict[str, object], writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.text = str(greeting["text"])
        self.pid = int(str(greeting["pid"]))
        self.node_pid = int(str(greeting["node"]))
        self.gone = asyncio.Event()
        self.audio = b""
        self.pieces = 0
        self.ended = False
        self.taken = False
        self._writer = writer

    def piece(self) -> bytes:
        """Have it give one more piece of audio; return that."""
        mark = f"{self.text} {self.number} {self.pieces}".encode()
        frame = (_FRAME_HEADER + mark).ljust(_FRAME_BYTES, b"\0")
        self.pieces += 1
        self.audio += frame
        self._tell(frame.hex())
        return frame

    def end(self) -> None:
        """Have it end, after at least three pieces."""
        if not self.ended:
            while self.pieces < _PIECES:
                self.piece()
            self.ended = True
            self._tell("end")

    def _tell(self, line: str) -> None:
        if not self.gone.is_set():
            self._writer.write(line.encode() + b"\n")


class Engines:
    """All engines of a test, behind one socket."""

    def __init__(self) -> None:
        self.all: list[Speaking] = []
        self.on_their_own = False
        """Whether each utterance ends as soon as it begins, without being told."""
        self._news = asyncio.Event()

    async def next(self, text: str) -> Speaking:
        """Wait until an engine begins with `text`, as none has that was returned before."""
        async with asyncio.timeout(GUARD_S):
            while True:
                for speaking in self.all:
                    if speaking.text == text and not speaking.taken:
                        speaking.taken = True
                        return speaking
                self._news.clear()
                await self._news.wait()

    def of(self, text: str) -> list[Speaking]:
        """Return every utterance of `text`."""
        return [speaking for speaking in self.all if speaking.text == text]

    def let_end(self, *, but: str = "") -> None:
        """Have every utterance end now, and those to come as soon as they begin, except those of one text."""
        self.on_their_own = True
        self._but = but
        for speaking in self.all:
            if speaking.text != but:
                speaking.end()

    def hold_again(self) -> None:
        """Have utterances wait to be told again."""
        self.on_their_own = False

    async def on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one utterance."""
        with suppress(ConnectionError):
            greeting = await reader.readline()
            if greeting:
                speaking = Speaking(len(self.all), json.loads(greeting), writer)
                self.all.append(speaking)
                if self.on_their_own and speaking.text != self._but:
                    speaking.end()
                self._news.set()
                with suppress(ConnectionError):
                    await reader.read()
                speaking.gone.set()
        writer.close()


@asynccontextmanager
async def engines(directory: Path) -> AsyncIterator[Engines]:
    """Listen for engines; their environment needs SOCKET with the path `directory`/engines."""
    told = Engines()
    server = await asyncio.start_unix_server(told.on_connection, directory / "engines")
    try:
        yield told
    finally:
        server.close()
