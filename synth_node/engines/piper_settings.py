"""Settings of the engine `piper`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from synth_node.engine_settings import EngineSettings

Scale = Annotated[float | None, Field(ge=0, le=10, allow_inf_nan=False)]


class PiperSettings(EngineSettings):
    """Which voice speaks, and how; each field is the variable SYNTH_PIPER_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix="SYNTH_PIPER_")

    voice: Annotated[str, Field(validate_default=True)] = ""
    """Path of the voice's .onnx file."""
    config: Annotated[str | None, Field(validate_default=True)] = None
    """Path of the .json file that describes it; the one beside it, <voice>.json, unless given."""
    noise_scale: Scale = None
    """How much the sound varies; the voice's own unless given."""
    noise_w: Scale = None
    """How much the length of the sounds varies; the voice's own unless given."""
    threads: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Threads that one slot computes with; one for each core unless given."""
    cuda: bool = False
    """Compute on a GPU, with the package onnxruntime-gpu."""

    @field_validator("voice")
    @classmethod
    def _is_file(cls, value: str) -> str:
        if not value:
            raise ValueError("the engine `piper` needs the path of a voice's .onnx file here")
        if not Path(value).is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("config")
    @classmethod
    def _is_beside(cls, value: str | None, info: ValidationInfo) -> str | None:
        voice = info.data.get("voice")
        path = f"{voice}.json" if value is None else value
        if voice is not None and not Path(path).is_file():
            raise ValueError(f"there is no file {path}, which has to describe the voice")
        return value
