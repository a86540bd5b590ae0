"""One utterance on its way from the engine's process to whoever listens."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any, Final, Protocol

from antiphon.errors import EngineFailed, SpeechError
from synth_node.host import EngineWord
from synth_node.process.engine import Frame
from synth_node.working_time import WorkingTime

MAX_BUFFERED_BYTES: Final = 1024 * 1024
MAX_PIECE_BYTES: Final = 256 * 1024
_MAX_SAMPLE: Final = 2**40
_BEGIN, _AUDIO, _WORDS, _ERROR, _END = (ord(kind) for kind in "BAWEZ")


class Maker(Protocol):
    """What makes an utterance, as far as that can hold it up: its process, or the batch that it is in."""

    def pause(self) -> None:
        """Take nothing more; the engine blocks."""

    def resume(self) -> None:
        """Go on after `pause`."""

    def kill(self, why: str) -> None:
        """Kill the process; `why` is for people."""


class Utterance:
    """One utterance on its way out of the engine.

    n_characters: of its text. idle_s: longest silence of the engine. bound_s: on all of its work. None if
    somebody else looks after these. sample_rate: of the PCM, in Hz; 0 for an encoded file; None before the
    first audio. buffered_bytes: raw audio that waits here; past it the engine blocks on its socket.
    """

    def __init__(
        self,
        maker: Maker,
        number: int,
        *,
        n_characters: int,
        idle_s: float | None,
        bound_s: float | None,
        buffered_bytes: int = MAX_BUFFERED_BYTES,
    ) -> None:
        self.number = number
        self.n_segments = 1
        self.n_characters = n_characters
        self.sample_rate: int | None = None
        self.streamed = False
        self._maker = maker
        self._idle_s = idle_s
        self._buffered_bytes = buffered_bytes
        self._pieces: deque[bytes] = deque()
        self._n_buffered = 0
        self._words: list[EngineWord] = []
        self._n_words = 0
        self._heard_from = 0
        self._ended = False
        self._unheard = False
        self._failure: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        endless = f"the engine worked for {bound_s or 0:g} s on {n_characters} characters"
        self._working = WorkingTime(bound_s, lambda: maker.kill(endless))
        self._working.run()

    @property
    def working_s(self) -> float:
        """Time of the engine's own: without that in which nobody took its audio."""
        return self._working.seconds

    async def next(self) -> bytes | None:
        """Return what audio is there, waiting for the first of it; None at the end.

        Raises:
            SpeechError: what the engine reported, or EngineCrashed.
            NotStarted: speak it once more.
        """
        while not self._pieces:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return None
            await self._wait()
        piece = self._pieces.popleft()
        if self._pieces and len(piece) < MAX_PIECE_BYTES:
            parts, size = [piece], len(piece)
            while self._pieces and size + len(self._pieces[0]) <= MAX_PIECE_BYTES:
                parts.append(self._pieces.popleft())
                size += len(parts[-1])
            piece = b"".join(parts)
        self._n_buffered -= len(piece)
        if not self._ended and self._n_buffered <= self._buffered_bytes // 2:
            self._go_on()
        return piece

    def take_words(self) -> list[EngineWord]:
        """Return the words that have come since the last call, in order of their start.

        Those that are heard in a piece of audio are there when `next` has returned it; some may be early.
        """
        words, self._words = self._words, []
        return words

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        bound = None
        if self._idle_s is not None:
            hung = f"the engine was silent for {self._idle_s:g} s"
            bound = loop.call_later(self._idle_s, self._maker.kill, hung)
        try:
            await self._waiter
        finally:
            if bound is not None:
                bound.cancel()
            self._waiter = None

    def take(self, frame: Frame) -> bool:
        """Take a frame of this utterance; return whether it was the last. Raises ValueError for nonsense."""
        kind, number, payload = frame
        if number != self.number:
            raise ValueError("a frame of no utterance")
        if kind == _AUDIO:
            if self.sample_rate is None:
                raise ValueError("audio before its beginning")
            if not self._unheard:
                self._pieces.append(payload)
                self._n_buffered += len(payload)
                if self._n_buffered > self._buffered_bytes:
                    self._maker.pause()
                    self._working.stop()
        elif kind == _BEGIN:
            self.sample_rate, self.streamed = int.from_bytes(payload[:4], "big"), payload[4:] == b"\x01"
        elif kind == _WORDS:
            self._take_words(json.loads(payload))
        elif kind == _END:
            self._ended = True
        elif kind == _ERROR:
            self._failure = _speech_error(json.loads(payload))
            self._ended = True
        else:
            raise ValueError(f"a frame of kind {kind}")
        if self._ended:
            self._working.stop()
        self._wake()
        return self._ended

    def _take_words(self, values: list[list[int]]) -> None:
        self._n_words += len(values)
        if self._n_words > self.n_characters:
            raise ValueError("more words than characters")
        for value in values:
            if not all(type(number) is int for number in value):
                raise ValueError("a word that is no four numbers")
            offset, length, start, end = word = EngineWord(*value)
            if offset < 0 or length < 1 or offset + length > self.n_characters:
                raise ValueError("a word that is not in the text")
            if not self._heard_from <= start <= end <= _MAX_SAMPLE:
                raise ValueError("a word out of order")
            self._heard_from = start
            if not self._unheard:
                self._words.append(word)

    def drop(self) -> None:
        """Keep none of its audio from now on."""
        self._unheard = True
        self._pieces.clear()
        self._words.clear()
        self._go_on()

    def _go_on(self) -> None:
        self._maker.resume()
        self._working.run()

    @property
    def begun(self) -> bool:
        """Whether any of it has come."""
        return self.sample_rate is not None

    @property
    def succeeded(self) -> bool:
        """Whether it is complete."""
        return self._ended and self._failure is None

    def fail(self, failure: Exception) -> None:
        """End it with `failure`, behind the audio that is there."""
        self._failure = self._failure or failure
        self._ended = True
        self._working.stop()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _speech_error(value: dict[str, Any]) -> SpeechError:
    code, param = value["code"], value.get("param")
    text = str(value["text"]).encode(errors="replace").decode()
    if code not in SpeechError.codes():
        return EngineFailed(text)
    return SpeechError.from_code(code, text, param=param if isinstance(param, str) else None)
