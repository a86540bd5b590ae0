"""Programs that speak."""

from __future__ import annotations

import asyncio
import shlex
from typing import Any

from antiphon.request import SpeechRequest
from synth_node.engines.command_line import split_command
from synth_node.synthesizer import EncodedAudio, Synthesizer
from tests.synth_node.conftest import GUARD_S
from tests.synth_node.process.support_engine import synthesizer_of

RATE = 16_000


def speaker(command: str, *, raw: bool = True, voices: tuple[str, ...] = (), **options: Any) -> Synthesizer:
    """Return what speaks with a command. raw: it gives samples at RATE, else a file."""
    settings = {
        "command": split_command(command),
        "voices": [(voice, voice, "") for voice in voices],
        "sample_rate": RATE if raw else None,
    }
    return synthesizer_of("command", settings=settings, segment_characters=0, **options)


def script(code: str, *arguments: str) -> str:
    """Return the command that runs `code` in a shell, with `arguments` as templates."""
    return shlex.join(["sh", "-c", code.replace("{", "{{").replace("}", "}}"), "sh", *arguments])


async def said(
    synthesizer: Synthesizer, text: str = "hello", *, format: Any = "pcm", **options: Any
) -> bytes:
    """Return the audio of a text; as pcm it is the bytes that a program gave as its samples."""
    data = b""
    async with asyncio.timeout(GUARD_S):
        async for piece in synthesizer.speak(SpeechRequest(text, format=format, **options)):
            if isinstance(piece, EncodedAudio):
                data += piece.data
    return data
