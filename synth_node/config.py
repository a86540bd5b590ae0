"""Settings of a synth node, read once from the environment."""

from __future__ import annotations

import os
import shutil
from typing import Annotated, Final

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from antiphon.request import is_speakable
from antiphon.settings import ProcessSettings, Seconds
from antiphon.subjects import check_token
from synth_node.built_in import BUILT_IN
from synth_node.slot_env import read_slot_env
from synth_node.text.segments import LEAST_MOST

PREFIX: Final = "SYNTH_"
MIB: Final = 1024 * 1024


class SynthSettings(ProcessSettings):
    """Settings of one synth node; each field is the variable SYNTH_<FIELD> unless it names another."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    engine: str = "espeak"
    """espeak, piper, command, openai, xunfei, tone, module:attribute or path.py:attribute."""
    model: str | None = None
    """Subject token of the model; derived from the engine's name unless given."""
    slots: Annotated[int, Field(ge=1, le=1024)] = 1
    """Utterances made at the same time."""
    processes: Annotated[int | None, Field(ge=1)] = None
    """Engine processes over which the slots are spread, as many as slots unless given; with fewer, each is
    given its slots' requests in batches."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)] = 10.0
    """Longest wait for more, from the first request of a batch, in milliseconds."""
    node: str | None = None
    """Name shown to people; host name and process number unless given."""
    python: str | None = None
    """Interpreter of the engine's own environment; the node's own unless given."""
    slot_env: str = ""
    """Variables for engines' processes, as before a shell's command; {slot} is the slot's number, and values
    with | between them are dealt to the slots in turn."""
    voice: str | None = None
    """Voice for requests that name none; the engine's own default unless given."""
    warm_up: str | None = None
    """Text that each engine speaks to nobody whenever it has started, before its slot joins; none unless
    given."""
    bit_rate: Annotated[int, Field(ge=8000, le=320_000)] = 64_000
    """Bit rate of mp3 at 16 to 24 kHz, in bit/s; other rates, aac and opus are derived from it."""
    segment_characters: Annotated[int, Field(ge=0, le=200_000)] = 300
    """Longest part of a text that is spoken in one go, in characters, at least 40; 0 never splits a text."""
    helpers: Annotated[int, Field(ge=0, le=256)] = 16
    """Other slots that may speak parts of one long text at the same time; 0 asks for no help."""
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """Time that running utterances get to finish after SIGTERM, in seconds."""
    start_s: Seconds = 120.0
    """Time that the engine gets to start (to load its model), in seconds."""
    hang_s: Seconds = 60.0
    """Silence of a working engine after which it is held to hang and is killed, in seconds."""
    segment_s: Seconds = 120.0
    """Longest time of an engine's own for one segment, in seconds; with what each character adds."""
    segment_s_per_character: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """What each character of a segment adds to that, in seconds."""
    recycle_after: Annotated[int, Field(ge=0)] = 0
    """Segments after which an engine's process is replaced, between two utterances; 0 is never."""
    memory_mib: Annotated[int, Field(ge=0)] = 0
    """Resident memory of an engine's process and its helpers past which it is replaced, in MiB; 0 is any."""
    budget_s: Seconds = 60.0
    """Time for a request that brings no budget of its own, in seconds."""
    max_budget_s: Seconds = 4 * 3600.0
    """Longest budget that a request may bring, in seconds; a larger one is cut to it."""
    max_audio_s: Seconds = 3 * 3600.0
    """Longest audio of one utterance, in seconds."""
    max_text_characters: Annotated[int, Field(ge=1)] = 200_000
    """Longest text of one utterance, in characters."""
    buffer_bytes: Annotated[int, Field(ge=1)] = 16 * MIB
    """Encoded audio kept for one slow caller while its slot is free already, in bytes."""
    buffer_total_bytes: Annotated[int, Field(ge=1)] = 64 * MIB
    """The same over all callers of this node, in bytes."""
    heartbeat_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """Time between heartbeats, in seconds; a node that misses three is gone."""
    rearm_s: Seconds = 20.0
    """Time after which an idle slot joins the queue group anew, should the server have forgotten it."""
    state_file: str | None = None
    """File for the node's state at each heartbeat, which `python -m synth_node.health` reads."""

    @field_validator("python")
    @classmethod
    def _can_be_run(cls, value: str | None) -> str | None:
        if value is not None and shutil.which(value) is None:
            raise ValueError(f"there is no interpreter {value!r}: it is not executable, or not there")
        return value

    @field_validator("slot_env")
    @classmethod
    def _is_readable(cls, value: str) -> str:
        read_slot_env(value)
        return value

    @field_validator("warm_up")
    @classmethod
    def _can_be_spoken(cls, value: str | None) -> str | None:
        if value is not None and not is_speakable(value):
            raise ValueError("there is nothing in it to speak")
        return value

    @field_validator("memory_mib")
    @classmethod
    def _can_be_measured(cls, value: int) -> int:
        if value and not os.path.exists("/proc/self/statm"):
            raise ValueError("this system does not tell the memory of a process in /proc")
        return value

    @field_validator("segment_characters")
    @classmethod
    def _is_zero_or_enough(cls, value: int) -> int:
        if 0 < value < LEAST_MOST:
            raise ValueError(f"must be 0, or at least {LEAST_MOST}")
        return value

    @field_validator("processes")
    @classmethod
    def _has_slots(cls, value: int | None, info: ValidationInfo) -> int | None:
        slots = info.data.get("slots")
        if value is not None and slots is not None and value > slots:
            raise ValueError(f"must be at most SYNTH_SLOTS, which is {slots}")
        built_in = BUILT_IN.get(engine := info.data.get("engine", ""))
        if value is not None and value != slots and built_in is not None and built_in.network is not None:
            raise ValueError(f"the engine {engine} has no processes")
        return value

    @field_validator("model")
    @classmethod
    def _is_model_token(cls, value: str | None) -> str | None:
        return value if value is None else check_token(value)
