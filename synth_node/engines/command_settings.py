"""Settings of the engine `command`."""

from __future__ import annotations

import shutil
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from synth_node.engine_settings import EngineSettings, read_voices
from synth_node.engines.command_line import placeholders, split_command


class CommandSettings(EngineSettings):
    """Which program speaks, and what it gives."""

    model_config = SettingsConfigDict(env_prefix="SYNTH_COMMAND_")

    command: Annotated[str, Field(validation_alias="SYNTH_COMMAND", validate_default=True)] = ""
    """SYNTH_COMMAND: the program and its arguments, with placeholders such as {text}."""
    voices: str = ""
    """Voices as `id=name/language`, separated by commas; name and language may be left out."""
    sample_rate: Annotated[int | None, Field(ge=1000, le=384_000)] = None
    """Rate in Hz of the raw samples that the program gives; unset: it gives an audio file."""

    @field_validator("command")
    @classmethod
    def _can_be_run(cls, value: str) -> str:
        if not value:
            raise ValueError("the engine `command` needs a program and its arguments here")
        program = split_command(value)[0].format()
        if shutil.which(program) is None:
            raise ValueError(f"there is no program {program!r}: it is not executable, or not there")
        return value

    @field_validator("voices")
    @classmethod
    def _are_told_apart(cls, value: str, info: ValidationInfo) -> str:
        ids = [id for id, _, _ in read_voices(value)]
        if any(id.startswith("-") for id in ids):
            raise ValueError("an id must not begin with a hyphen: it would be an option")
        command = info.data.get("command")
        if command is not None and len(ids) > 1 and "voice" not in placeholders(split_command(command)):
            raise ValueError("several voices, but no {voice} in SYNTH_COMMAND")
        return value

    def for_engine(self) -> dict[str, Any]:
        """Return what the engine is made with."""
        return {
            "command": split_command(self.command),
            "voices": read_voices(self.voices),
            "sample_rate": self.sample_rate,
        }
