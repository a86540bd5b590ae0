"""How a node runs the engines of its slots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine's process is run.

    python: interpreter of the engine's own environment; None is the node's. voice: for requests that name
    none; None is the engine's own. settings: what a built-in engine is made with.
    idle_s: longest silence of an engine at work; a longer one counts as a hang. start_s: bound on its start.
    """

    python: str | None = None
    voice: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    idle_s: float = 60.0
    start_s: float = 120.0
