"""Streams of a slot, longer than its window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from antiphon.events import AudioChunk

MIB = 1024 * 1024


@dataclass(frozen=True)
class LongFile:
    """An mp3. request: has it passed on by the engine of files."""

    request: bytes
    audio: bytes


def audio_of(events: list[Any]) -> bytes:
    """Return the audio of a stream."""
    return b"".join(event.audio for event in events if isinstance(event, AudioChunk))
