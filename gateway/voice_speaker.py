"""The speaking half of a voice stream: segments in, marks and audio out, in order and one ahead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict, dataclass
from typing import Final

from aiohttp import web

from antiphon.background import background
from antiphon.errors import NothingToSpeak, SpeechError
from antiphon.events import Words
from antiphon.utterance import Utterance
from gateway.voice_messages import DONE, Close, Options, failed
from gateway.voice_utterances import Utterances

N_AHEAD: Final = 1
"""Segments that are made already while another one is sent."""
MAX_FRAME_BYTES: Final = 16 * 1024
"""A frame cannot be interrupted once it is begun; this one is a third of a second of pcm."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A sentence, or what a flush made one. offset: of its first character in all text that came."""

    text: str
    offset: int
    options: Options


@dataclass(frozen=True, slots=True)
class Flushed:
    """A flush: everything before it is to be sent, then said to be."""


Item = Segment | Flushed | Close
"""What is to be done in its turn; a Close ends the stream."""


class Speaker:
    """Speaks one item after another; the segment after the one that is sent is asked for already.

    on_end: called once with the end of the stream; None when the client is gone.
    n_waiting: characters that nobody has been asked to speak yet; a flush counts as one.
    """

    def __init__(
        self,
        ws: web.WebSocketResponse,
        utterances: Utterances,
        traceparent: str | None,
        on_end: Callable[[Close | None], None],
    ) -> None:
        self.n_waiting = 0
        self._ws = ws
        self._utterances = utterances
        self._traceparent = traceparent
        self._on_end = on_end
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._n_unsent = 0
        self._n_segments = 0
        self._audio_ms = 0
        self._quiet_since = asyncio.get_running_loop().time()

    @property
    def quiet_s(self) -> float:
        """For how many seconds there has been nothing to send."""
        return 0.0 if self._n_unsent else asyncio.get_running_loop().time() - self._quiet_since

    def put(self, item: Item) -> None:
        """Have `item` done after all before it."""
        self.n_waiting += len(item.text) if isinstance(item, Segment) else 1
        self._n_unsent += 1
        self._items.put_nowait(item)

    def clear(self) -> None:
        """Forget all that is not sent; only while `run` does not run."""
        self._items = asyncio.Queue()
        self.n_waiting = self._n_unsent = 0
        self._quiet_since = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Speak until cancelled, which leaves the utterances wherever they are."""
        room = asyncio.Semaphore(1 + N_AHEAD)
        turn = asyncio.Event()
        turn.set()
        async with background() as spawn:
            while True:
                item = await self._items.get()
                if isinstance(item, Segment):
                    await room.acquire()
                    self.n_waiting -= len(item.text)
                sent = asyncio.Event()
                spawn(self._do(item, turn, sent, room), "speak a segment")
                turn = sent

    async def _do(
        self, item: Item, turn: asyncio.Event, sent: asyncio.Event, room: asyncio.Semaphore
    ) -> None:
        """Do one item in its turn. A failure waits for its turn too, and is the end."""
        try:
            match item:
                case Segment():
                    await self._speak(item, turn)
                    room.release()
                case Flushed():
                    await turn.wait()
                    self.n_waiting -= 1
                    await self._ws.send_json({"type": "flushed"})
                case Close():
                    await turn.wait()
                    await self._close(item)
        except SpeechError as exc:
            await turn.wait()
            self._on_end(failed(exc))
        except ConnectionError:
            self._on_end(None)
        else:
            self._n_unsent -= 1
            self._quiet_since = asyncio.get_running_loop().time()
            sent.set()

    async def _speak(self, segment: Segment, turn: asyncio.Event) -> None:
        try:
            async with self._utterances.utterance(
                segment.text, segment.options, traceparent=self._traceparent
            ) as utterance:
                await turn.wait()
                await self._send(segment, utterance)
        except NothingToSpeak:
            await turn.wait()  # nothing to hear in it: the next one then

    async def _send(self, segment: Segment, utterance: Utterance) -> None:
        ws, index = self._ws, self._n_segments
        self._n_segments += 1
        begun = {"type": "segment_started", "segment": index, "text": segment.text, "offset": segment.offset}
        await ws.send_json(begun)
        async with aclosing(utterance.events()) as events:
            async for event in events:
                if isinstance(event, bytes):
                    for at in range(0, len(event), MAX_FRAME_BYTES):
                        await ws.send_bytes(event[at : at + MAX_FRAME_BYTES])
                elif isinstance(event, Words):
                    words = [asdict(word) for word in event.words]
                    await ws.send_json({"type": "words", "segment": index, "words": words})
        audio_ms = 0 if utterance.end is None else utterance.end.audio_ms
        self._audio_ms += audio_ms
        await ws.send_json({"type": "segment_finished", "segment": index, "audio_ms": audio_ms})

    async def _close(self, close: Close) -> None:
        if close is DONE:
            done = {"type": "done", "segments": self._n_segments, "audio_ms": self._audio_ms}
            await self._ws.send_json(done)
        self._on_end(close)
