"""The names that clients of OpenAI use for models and voices, and what they mean here. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from antiphon.heartbeat import VoiceList
from antiphon.openai_voices import OPENAI_VOICES
from antiphon.subjects import check_token

OPENAI_MODELS: Final = "tts-1,tts-1-hd,gpt-4o-mini-tts"

ModelAliases = Mapping[str, str | None]
"""Alias to model; None is the default model."""
VoiceAliases = Mapping[tuple[str | None, str], str]
"""Model, or None for all of them, and alias, to voice."""


def parse_model_aliases(text: str) -> dict[str, str | None]:
    """Read `alias` or `alias=model`, with commas between them.

    Raises:
        ValueError: an alias is empty, or a model is no subject token.
    """
    aliases: dict[str, str | None] = {}
    for part in _parts(text):
        alias, _, model = (side.strip() for side in part.partition("="))
        if not alias:
            raise ValueError(f"{part[:80]!r} is not alias=model")
        aliases[alias] = check_token(model) if model else None
    return aliases


def parse_voice_aliases(text: str) -> dict[tuple[str | None, str], str]:
    """Read `alias=voice` or `model:alias=voice`, with commas between them.

    Raises:
        ValueError: a part of it is missing, or a model is no subject token.
    """
    aliases: dict[tuple[str | None, str], str] = {}
    for part in _parts(text):
        name, _, voice = (side.strip() for side in part.partition("="))
        model, colon, alias = (side.strip() for side in name.rpartition(":"))
        if not (alias and voice):
            raise ValueError(f"{part[:80]!r} is neither alias=voice nor model:alias=voice")
        aliases[check_token(model) if colon else None, alias] = voice
    return aliases


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def other_names(
    model: str, listed: VoiceList, configured: VoiceAliases, *, openai: bool = True
) -> dict[str, str]:
    """Return every alias of a model's voices with the voice that it means.

    A configured alias wins over everything, one for the model over one for all. Then come the voices
    themselves, then the engine's own aliases. With `openai` the names of OpenAI that are left are dealt out
    over the voices in turn; a model that lists no voices takes any name as it is.
    """
    voices = [voice.id for voice in listed.voices]
    dealt = OPENAI_VOICES if openai and voices else ()
    names = {name: voices[i % len(voices)] for i, name in enumerate(dealt)}
    names.update(listed.aliases)
    for voice in voices:
        names.pop(voice, None)
    for of in (None, model):
        names.update({alias: voice for (m, alias), voice in configured.items() if m == of})
    return names
