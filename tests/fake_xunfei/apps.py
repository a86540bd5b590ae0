"""Who may speak: apps with their keys, and the voices that each has."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Final

ONLINE_VOICES: Final = frozenset(
    {"xiaoyan", "aisjiuxu", "aisxping", "aisjinger", "aisbabyxu", "x4_xiaoyan", "x4_yezi"}
)
"""The basic sets of /v2/tts, the older and the newer one."""
SUPER_HUMAN_VOICES: Final = frozenset(
    {
        "x5_lingxiaoxuan_flow",
        "x5_lingfeiyi_flow",
        "x5_lingxiaoyue_flow",
        "x5_lingyuzhao_flow",
        "x5_lingyuyan_flow",
        "x4_lingxiaoxuan_oral",
        "x4_lingfeiyi_oral",
    }
)


@dataclass(frozen=True, slots=True)
class App:
    """One registered app: random credentials of the usual lengths unless some are given.

    voices: all that are enabled for it, of either service.
    """

    app_id: str = field(default_factory=lambda: secrets.token_hex(4))
    api_key: str = field(default_factory=lambda: secrets.token_hex(16))
    api_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    voices: frozenset[str] = ONLINE_VOICES | SUPER_HUMAN_VOICES
