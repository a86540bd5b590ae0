"""The engines that come with Antiphon, by name."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from antiphon.settings import load
from synth_node.engine_settings import EngineSettings


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """One engine that comes with Antiphon; each name is `module:attribute` in synth_node/engines.

    child: what the engine's process runs. network: what speaks on the node's loop instead.
    settings: the class of its settings. own_python: it may run in the user's interpreter.
    """

    child: str | None = None
    network: str | None = None
    settings: str | None = None
    own_python: bool = False

    def settings_class(self) -> type[EngineSettings] | None:
        """Return the class of the engine's settings, None if it has none."""
        try:
            return None if self.settings is None else _load(self.settings)
        except ModuleNotFoundError:
            return None

    def network_class(self) -> Any:
        """Return the class that implements NetworkEngine."""
        assert self.network is not None
        return _load(self.network)


BUILT_IN: Final = {
    "espeak": BuiltIn(child="espeak:Engine"),
    "tone": BuiltIn(child="tone:Engine"),
    "command": BuiltIn(child="command:Engine", settings="command_settings:CommandSettings"),
    "piper": BuiltIn(child="piper:Engine", settings="piper_settings:PiperSettings", own_python=True),
    "openai": BuiltIn(network="openai.engine:OpenAI", settings="openai.settings:OpenAISettings"),
    "xunfei": BuiltIn(network="xunfei.engine:Xunfei", settings="xunfei.settings:XunfeiSettings"),
}


def load_engine_settings(engine: str) -> EngineSettings | None:
    """Read the settings of an engine from the environment; None if it has none of its own.

    Raises:
        SettingsError: a variable is missing, unknown or has a value that is not allowed.
    """
    built_in = BUILT_IN.get(engine)
    cls = None if built_in is None else built_in.settings_class()
    return None if cls is None else load(cls)


def all_settings_classes() -> list[type[EngineSettings]]:
    """Return the classes of all engines' settings, so that a variable of another engine is no unknown one."""
    return [cls for built_in in BUILT_IN.values() if (cls := built_in.settings_class()) is not None]


def _load(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(f"synth_node.engines.{module}"), attribute)
