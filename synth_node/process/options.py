"""How a node runs the engines of its slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine's process is run.

    python: interpreter of the engine's own environment; None is the node's. voice: for requests that name
    none; None is the engine's own. settings: what a built-in engine is made with. env: what is added to the
    node's environment, without our own variables. warm_up: a text that is spoken to nobody before the engine
    counts as started. idle_s: longest silence of an engine at work; a longer one counts as a hang. start_s:
    bound on its start. segment_s, segment_s_per_character: bound on its own time for a segment, which grows
    with the text. recycle_after: segments after which its process is replaced; 0 is never. memory_bytes: of
    its process and its helpers, after which it is replaced; 0 is any.
    """

    python: str | None = None
    voice: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    warm_up: str | None = None
    idle_s: float = 60.0
    start_s: float = 120.0
    segment_s: float = 120.0
    segment_s_per_character: float = 1.0
    recycle_after: int = 0
    memory_bytes: int = 0
