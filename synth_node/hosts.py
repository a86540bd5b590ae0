"""What speaks for the slots of a node, as its settings say."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from synth_node.built_in import BUILT_IN
from synth_node.config import MIB, SynthSettings
from synth_node.engine_info import EngineInfo
from synth_node.engine_settings import EngineSettings
from synth_node.host import Host
from synth_node.network.host import Network, NetworkHost
from synth_node.network.throttle import Throttle
from synth_node.process.batch_host import BatchEngine, BatchHost
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from synth_node.slot_env import env_of_slot


class Hosts:
    """Makes the host of each slot, and holds what slots share. To be entered before the first of them starts.

    on_return: called when an engine behind the network has come back, and may have other voices.

    Raises SettingsError.
    """

    def __init__(
        self,
        settings: SynthSettings,
        engine_settings: EngineSettings | None,
        on_return: Callable[[EngineInfo], None],
    ) -> None:
        self._settings = settings
        self._engine_settings = engine_settings
        self._on_return = on_return
        self._network = self._open_network()
        self._engines: list[BatchEngine] = []
        if settings.processes is not None and settings.processes != settings.slots:
            self._engines = [self._batch_engine(number) for number in range(settings.processes)]

    async def __aenter__(self) -> Hosts:
        """Open what slots share, without waiting for it; somebody has to run `works`."""
        if self._network is not None:
            await self._network.__aenter__()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Close it."""
        if self._network is not None:
            await self._network.__aexit__(*exc_info)

    @property
    def paused_for(self) -> str | None:
        """Why nothing can be spoken for now, a sentence without secrets; None when it can."""
        return None if self._network is None else self._network.throttle.paused_for

    @property
    def pause_left_s(self) -> float:
        """Seconds until that may change; 0.0 when it is not known."""
        return 0.0 if self._network is None else self._network.throttle.pause_left_s

    def works(self) -> Iterator[tuple[Coroutine[Any, Any, None], str]]:
        """Yield what has to run as long as there are slots, each with its name."""
        if self._network is not None:
            yield self._network.keep_open(), "probe the engine"
        for number, engine in enumerate(self._engines):
            yield engine.run(), f"engine process {number}"

    def of_slot(self, number: int) -> Host:
        """Return what speaks for a slot."""
        settings = self._settings
        if self._network is not None:
            return NetworkHost(self._network, slot=number, voice=settings.voice)
        if self._engines:
            return BatchHost(self._engines[number % len(self._engines)])
        return EngineHost(settings.engine, slot=number, options=self._options(number))

    def _open_network(self) -> Network | None:
        """Return what the slots share if their engine is behind the network."""
        built_in = BUILT_IN.get(self._settings.engine)
        if built_in is None or built_in.network is None:
            return None
        throttle = Throttle(self._settings.slots)
        engine = built_in.network_class()(self._engine_settings, throttle)
        return Network(engine, throttle, self._on_return)

    def _batch_engine(self, number: int) -> BatchEngine:
        settings = self._settings
        wait_s = settings.batch_wait_ms / 1000
        return BatchEngine(settings.engine, number=number, options=self._options(number), wait_s=wait_s)

    def _options(self, process: int) -> EngineOptions:
        settings = self._settings
        return EngineOptions(
            python=settings.python,
            voice=settings.voice,
            settings={} if self._engine_settings is None else self._engine_settings.for_engine(),
            env=env_of_slot(settings.slot_env, process),
            warm_up=settings.warm_up,
            idle_s=settings.hang_s,
            start_s=settings.start_s,
            segment_s=settings.segment_s,
            segment_s_per_character=settings.segment_s_per_character,
            recycle_after=settings.recycle_after,
            memory_bytes=settings.memory_mib * MIB,
        )
