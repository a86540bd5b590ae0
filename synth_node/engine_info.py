"""What an engine says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from antiphon.heartbeat import Voice


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine says of itself.

    sample_rate: of its PCM in Hz; None if it makes whole files. start_up_s: measured, the last time.
    aliases: other names of its voices. ssml: it reads SSML. words: it tells when words are heard.
    batches: it has synthesize_batch.
    form: what its author wrote, for people. options: that its function takes; None where any is given.
    """

    name: str
    sample_rate: int | None
    voices: tuple[Voice, ...]
    start_up_s: float
    aliases: Mapping[str, str] = field(default_factory=dict)
    ssml: bool = False
    words: bool = False
    batches: bool = False
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
            batches=bool(description.get("batches")),
            form=description.get("form", ""),
            options=None if options is None else tuple(options),
        )
