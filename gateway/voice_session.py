"""One voice stream: text comes in pieces, each sentence is spoken as soon as it is complete."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from antiphon.background import Spawn, background
from antiphon.errors import InvalidRequest, SpeechError, TextTooLong
from antiphon.request import is_speakable
from antiphon.sentences import complete_sentences
from gateway.config import GatewaySettings
from gateway.voice_messages import DONE, DRAINED, IDLE, Close, Message, Options, Refused, parse_message
from gateway.voice_speaker import Flushed, Segment, Speaker
from gateway.voice_utterances import Utterances

MAX_SENTENCE_CHARACTERS: Final = 500
"""A sentence that is still not complete is spoken up to its last pause: not every text has full stops."""
PAUSES: Final = " \n\t,;:，、；："
SHARE_OF_GRACE: Final = 0.8
"""Part of the gateway's grace after which a stream that still speaks is closed, while that can be said."""


class Session:
    """One client that is connected. draining: set when the gateway leaves."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        utterances: Utterances,
        settings: GatewaySettings,
        options: Options,
        *,
        draining: asyncio.Event,
        traceparent: str | None,
    ) -> None:
        self._ws = ws
        self._settings = settings
        self._options = options
        self._draining = draining
        self._text = ""  # the sentence that is not complete yet
        self._n_taken = 0  # characters in all text before that
        self._last: Close | None = None  # after which item nothing more is taken
        self._over: asyncio.Future[Close | None] = asyncio.get_running_loop().create_future()
        self._speaker = Speaker(ws, utterances, traceparent, self._end)

    async def run(self) -> Close | None:
        """Speak until the stream ends; return how, or None when the client is gone. No utterance is left."""
        async with background() as spawn:
            self._speaking = spawn(self._speaker.run(), "speak")
            spawn(self._listen(spawn), "listen")
            spawn(self._ping(), "ping")
            spawn(self._drain(), "wait for the drain")
            return await self._over

    def _end(self, close: Close | None) -> None:
        if not self._over.done():
            self._over.set_result(close)

    async def _listen(self, spawn: Spawn) -> None:
        """Heed what comes. Nothing here waits for audio: a cancel is seen at once."""
        try:
            while (data := await self._next_message()) is not None:
                await self._heed(parse_message(data), spawn)
        except Refused as exc:
            self._end(exc.close)
        except SpeechError as exc:
            self._end(Refused(exc).close)
        except ConnectionError:
            self._end(None)
        except TimeoutError:
            self._end(IDLE)
        else:
            self._end(None)

    async def _next_message(self) -> str | None:
        """Return the text of the next message; None when the client is gone.

        Raises:
            TimeoutError: neither side had anything to say for too long.
        """
        idle_s = self._settings.stream_idle_s
        while True:
            try:
                message = await self._ws.receive(timeout=idle_s)
                break
            except TimeoutError:
                if self._speaker.quiet_s >= idle_s:
                    raise
        if message.type is WSMsgType.BINARY:
            error = InvalidRequest("send JSON in text messages, not binary ones")
            raise Refused(error, WSCloseCode.UNSUPPORTED_DATA)
        return str(message.data) if message.type is WSMsgType.TEXT else None

    async def _heed(self, message: Message, spawn: Spawn) -> None:
        if message.cancel:
            await self._cancel(spawn)
        self._options = self._options.with_values(message.options)
        if self._last is DRAINED:
            return  # whatever comes now is for another gateway
        if self._last is DONE and (message.text or message.flush):
            raise Refused(InvalidRequest("there can be no text after the end"))
        self._check_room(len(message.text) + message.flush)
        self._take(message.text)
        if message.flush or message.end:
            self._put(self._text)
            self._text = ""
        if message.flush:
            self._speaker.put(Flushed())
        if message.end:
            self._finish(DONE)

    def _check_room(self, n: int) -> None:
        limit = self._settings.stream_buffer_characters
        if n and self._speaker.n_waiting + len(self._text) + n > limit:
            error = TextTooLong(f"more than {limit} characters wait to be spoken", param="text")
            raise Refused(error, WSCloseCode.MESSAGE_TOO_BIG)

    def _take(self, text: str) -> None:
        """Add `text`; have every sentence that it completes spoken."""
        sentences, self._text = complete_sentences(self._text + text)
        for sentence in sentences:
            self._put(sentence)
        while len(self._text) > MAX_SENTENCE_CHARACTERS:
            pause = max(self._text.rfind(mark, 1, MAX_SENTENCE_CHARACTERS) for mark in PAUSES)
            end = pause + 1 if pause > 0 else MAX_SENTENCE_CHARACTERS
            self._put(self._text[:end])
            self._text = self._text[end:]

    def _put(self, text: str) -> None:
        """Have `text` spoken, if there is anything in it to speak."""
        if is_speakable(text):
            begin = self._n_taken + len(text) - len(text.lstrip())
            self._speaker.put(Segment(text.strip(), begin, self._options))
        self._n_taken += len(text)

    async def _cancel(self, spawn: Spawn) -> None:
        """Be silent at once: when this is said, every utterance is left and no audio is to come."""
        self._speaking.cancel()
        await asyncio.wait([self._speaking])
        self._speaker.clear()
        self._n_taken += len(self._text)
        self._text = ""
        await self._ws.send_json({"type": "cancelled"})
        self._speaking = spawn(self._speaker.run(), "speak")
        if self._last is not None:
            self._speaker.put(self._last)

    def _finish(self, last: Close) -> None:
        """Take nothing more; speak what has come, then end."""
        if self._last is None:
            self._last = last
            self._speaker.put(last)

    async def _ping(self) -> None:
        """Keep the way open, and have the kernel notice a client that vanished without a word.

        No pong is waited for: a client that reads as it plays finds the ping behind minutes of audio.
        """
        try:
            while True:
                await asyncio.sleep(self._settings.stream_ping_s)
                await self._ws.ping()
        except ConnectionError:
            self._end(None)

    async def _drain(self) -> None:
        await self._draining.wait()
        self._finish(DRAINED)
        await asyncio.sleep(SHARE_OF_GRACE * self._settings.grace_s)
        self._end(DRAINED)
