"""A run's audio as one plain reply."""

from __future__ import annotations

from typing import Final

from nats.aio.client import Client

from antiphon.errors import AudioTooLarge, SpeechError
from antiphon.events import Position, Segment, Words
from antiphon.lengths import with_length
from antiphon.request import (
    AUDIO_MS,
    CONTENT_TYPE,
    CONTENT_TYPES,
    ERROR,
    ID,
    NODE,
    SERVICE_ERROR,
    SERVICE_ERROR_CODE,
    SYNTHESIS_MS,
)
from synth_node.delivery import short_text

_HEADER_ROOM: Final = 1024
"""Bytes kept free for subject and headers below max_payload: the server counts headers as payload."""


class PlainDelivery:
    """One message with the whole audio, or one without a body that says why there is none."""

    def __init__(self, nc: Client, *, subject: str, id: str, format: str, node: str) -> None:
        self._nc = nc
        self._subject = subject
        self._id = id
        self._format = format
        self._node = node
        self._audio: list[bytes] = []
        self._n_bytes = 0
        self._closed = False

    async def accept(self, node: str, slot: int, model: str) -> None:
        return  # a plain caller takes one message only

    async def tell(self, event: Segment | Words) -> None:
        return

    async def audio(self, data: bytes, at: Position | None = None) -> None:
        self._n_bytes += len(data)
        limit = self._nc.max_payload - _HEADER_ROOM
        if self._n_bytes > limit:
            raise AudioTooLarge(
                f"the audio passes the {limit} bytes of one message: ask for the stream (Tts-Reply: stream)"
            )
        self._audio.append(data)

    async def end(self, *, audio_ms: int, synthesis_ms: int) -> None:
        headers = {
            CONTENT_TYPE: CONTENT_TYPES[self._format],
            ID: self._id,
            NODE: self._node,
            AUDIO_MS: str(audio_ms),
            SYNTHESIS_MS: str(synthesis_ms),
        }
        await self._reply(with_length(b"".join(self._audio), self._format), headers)

    async def fail(self, exc: SpeechError) -> None:
        headers = {
            SERVICE_ERROR_CODE: str(exc.number),
            SERVICE_ERROR: short_text(str(exc)) or exc.code,
            ERROR: exc.code,
            ID: self._id,
            NODE: self._node,
        }
        await self._reply(b"", headers)

    def credit(self, n_bytes: int, total: int | None) -> None:
        return

    def close(self) -> None:
        self._closed = True

    @property
    def is_complete(self) -> bool:
        return True

    async def delivered(self) -> None:
        return

    async def _reply(self, data: bytes, headers: dict[str, str]) -> None:
        if not self._closed:
            await self._nc.publish(self._subject, data, headers=headers)
