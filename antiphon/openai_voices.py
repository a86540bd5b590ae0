"""The voices that clients of OpenAI know. No I/O."""

from __future__ import annotations

from typing import Final

OPENAI_VOICES: Final = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage"),
    *("shimmer", "verse"),
)
