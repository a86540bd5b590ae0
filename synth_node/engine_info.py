"""What an engine is called, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Final

from antiphon.heartbeat import Voice
from antiphon.subjects import token_from

_USUAL_NAME: Final = "tts_api"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself.

    sample_rate: of its PCM in Hz; None if it makes whole files. start_up_s: measured, the last time.
    aliases: other names of its voices. ssml: it reads SSML. words: it tells when words are heard.
    form: what its author wrote, for people. options: that its function takes; None where any is given.
    """

    name: str
    sample_rate: int | None
    voices: tuple[Voice, ...]
    start_up_s: float
    aliases: Mapping[str, str] = field(default_factory=dict)
    ssml: bool = False
    words: bool = False
    form: str = ""
    options: tuple[str, ...] | None = None

    @classmethod
    def read(cls, description: Mapping[str, Any], *, start_up_s: float) -> EngineInfo:
        """Read what the engine's process reports."""
        options = description.get("options")
        return cls(
            name=description["name"],
            sample_rate=description["sample_rate"],
            voices=tuple(Voice(*voice) for voice in description["voices"]),
            start_up_s=start_up_s,
            aliases=description.get("aliases") or {},
            ssml=bool(description.get("ssml")),
            words=bool(description.get("words")),
            form=description.get("form", ""),
            options=None if options is None else tuple(options),
        )


def model_name(engine: str) -> str:
    """Return the model's name, a legal subject token, for an engine as it is named in the settings.

    A built-in engine has its own name. Of `module:attribute` and `path.py:attribute` it is the attribute; but
    where that is `tts_api`, as everybody calls it, it is the last part of the module's or the file's name:
    "voices.de:Anna" -> Anna, "my_models.fast:tts_api" -> fast, "models/my tts.py:tts_api" -> my-tts.
    """
    module, colon, attribute = engine.rpartition(":")
    if not colon:
        return token_from(engine)
    if attribute != _USUAL_NAME:
        return token_from(attribute)
    return token_from(PurePath(module).stem if module.endswith(".py") else module.rpartition(".")[2])
