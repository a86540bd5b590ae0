"""Settings of the engine that speaks through an OpenAI-compatible server."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from antiphon.request import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from antiphon.settings import Seconds
from synth_node.engine_settings import EngineSettings, address, secret

PREFIX: Final = "SYNTH_OPENAI_"
API_KEY: Final = f"{PREFIX}API_KEY"
_SPEECH: Final = "/audio/speech"
_OURS: Final = {"model", "input", "voice", "response_format", "speed", "instructions"}


class OpenAISettings(EngineSettings):
    """Where the server is and what it is asked for; each field is the variable SYNTH_OPENAI_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    base_url: str
    """What stands before /audio/speech, such as http://127.0.0.1:8000/v1."""
    api_key: SecretStr | None = None
    """Key that the server asks for; a server of one's own often needs none."""
    api_key_file: str | None = None
    """File with the key, such as a mounted secret; it is read again whenever the engine has paused."""
    model: Annotated[str, Field(min_length=1)] = "tts-1"
    """The server's own name of the model."""
    voices: str | None = None
    """Voices, with commas, the default one first; the server's list, or else OpenAI's names, unless given."""
    format: Literal["pcm", "mp3"] = "pcm"
    """What the server is asked for: samples, or mp3, which is passed on untouched where mp3 is wanted."""
    sample_rate: Annotated[int, Field(ge=MIN_SAMPLE_RATE, le=MAX_SAMPLE_RATE)] = 24_000
    """Of the samples that the server sends, in Hz; they come without a word of it."""
    instructions: str | None = None
    """How to speak, for models that take instructions; not sent unless given."""
    extra_body: str | None = None
    """Further fields of each request that the server knows, as a JSON object."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """How often one segment is tried in all if the server fails; waiting for a busy one does not count."""
    connect_s: Seconds = 10.0
    """Time for a connection to the server, in seconds."""
    idle_s: Seconds = 60.0
    """Longest silence of the server at work, before its first byte too, in seconds."""
    total_s: Seconds = 600.0
    """Longest time of one attempt, in seconds."""

    @field_validator("base_url")
    @classmethod
    def _is_base(cls, value: str) -> str:
        value = value.strip()
        url = address(value, ("http", "https"), "http://127.0.0.1:8000/v1")
        if url.username is not None or url.password is not None:
            raise ValueError(f"must hold no password; the key belongs in {API_KEY}")
        if url.query or url.fragment:
            raise ValueError("must end with its path, without ? or #")
        base = value.rstrip("/")
        if base.endswith(_SPEECH):
            raise ValueError(f"must end before {_SPEECH}")
        return base

    @field_validator("voices")
    @classmethod
    def _names_one(cls, value: str | None) -> str | None:
        if value is not None and not value.replace(",", "").strip():
            raise ValueError("there is no voice in it")
        return value

    @field_validator("extra_body")
    @classmethod
    def _is_object(cls, value: str | None) -> str | None:
        if value is not None:
            fields = _object(value)
            if not isinstance(fields, dict):
                raise ValueError('must be a JSON object such as {"stream": true}')
            if ours := sorted(fields.keys() & _OURS):
                raise ValueError(f"must not hold {', '.join(ours)}, which this engine fills in itself")
        return value

    @model_validator(mode="after")
    def _has_a_key_to_send(self) -> Self:
        self.key()  # a process whose key cannot be read stops before it connects to anything
        return self

    @property
    def fields(self) -> dict[str, Any]:
        """What every request holds."""
        said = {} if self.instructions is None else {"instructions": self.instructions}
        extra = {} if self.extra_body is None else _object(self.extra_body)
        return {"model": self.model, "response_format": self.format, **said, **extra}

    @property
    def voice_ids(self) -> tuple[str, ...]:
        """What `voices` names."""
        return tuple(voice.strip() for voice in (self.voices or "").split(",") if voice.strip())

    def key(self) -> str | None:
        """Return the key, None if there is to be none.

        Raises:
            SettingsError: the file cannot be read, or the key is none that a header can hold.
        """
        if self.api_key is None and self.api_key_file is None:
            return None
        return secret(API_KEY, self.api_key, self.api_key_file)


def _object(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
