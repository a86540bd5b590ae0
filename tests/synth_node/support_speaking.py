"""Listening to a synthesizer with a real engine process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import psutil

from antiphon.request import SpeechRequest
from synth_node.synthesizer import EncodedAudio, Synthesizer
from tests.synth_node.conftest import ENGINES, GUARD_S

FORMS: Final = f"{ENGINES / 'forms.py'}:"


async def speak(synthesizer: Synthesizer, text: str = "hello", **options: Any) -> tuple[bytes, float]:
    """Return the whole audio and the duration that its pieces add up to."""
    data, duration_s = b"", 0.0
    async with asyncio.timeout(GUARD_S):
        async for piece in synthesizer.speak(SpeechRequest(text, **options)):
            if isinstance(piece, EncodedAudio):
                assert piece.data
                data += piece.data
                duration_s += piece.duration_s
    return data, duration_s


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(GUARD_S):
        while not condition():  # noqa: ASYNC110  (a file or a log has no event)
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Return whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
