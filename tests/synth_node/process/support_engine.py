"""A slot's engine without a node around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from synth_node.synthesizer import Synthesizer


def synthesizer_of(
    engine: str,
    *,
    slot: int = 0,
    python: str | None = None,
    default_voice: str | None = None,
    idle_s: float = 60.0,
    start_timeout_s: float = 120.0,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Synthesizer:
    """Return what speaks with an engine in a process of its own.

    settings: what a built-in engine is made with. options: the synthesizer's.
    """
    engine_options = EngineOptions(
        python=python,
        voice=default_voice,
        settings=settings or {},
        idle_s=idle_s,
        start_s=start_timeout_s,
    )
    return Synthesizer(EngineHost(engine, slot=slot, options=engine_options), slot=slot, **options)
