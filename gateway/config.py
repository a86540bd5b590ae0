"""Settings of the gateway, read once from the environment."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from antiphon.settings import ProcessSettings, Seconds, SettingsError
from antiphon.subjects import check_token
from gateway.aliases import OPENAI_MODELS, parse_model_aliases, parse_voice_aliases
from gateway.cors import EVERYWHERE, parse_origins

MIB: Final = 1024 * 1024
_KEY: Final = re.compile(r"[!-~]+")
_PARSERS: Final[dict[str, Callable[[str], object]]] = {
    "model_aliases": parse_model_aliases,
    "voice_aliases": parse_voice_aliases,
    "cors_origins": parse_origins,
}


class GatewaySettings(ProcessSettings):
    """Settings of one gateway; each field is the variable GATEWAY_<FIELD> unless it names another."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one, which the log names."""
    model: str | None = None
    """Default model of requests that name none; without it the only one that lives."""

    model_aliases: str = OPENAI_MODELS
    """Other names of models under /v1: `alias` for the default model, or `alias=model`; with commas."""
    voice_aliases: str | None = None
    """Other names of voices under /v1: `alias=voice`, or `model:alias=voice` for one model; with commas."""
    api_keys: SecretStr | None = None
    """Keys that let a client have something spoken, with commas; without any, everyone may."""
    api_keys_file: str | None = None
    """File of further keys, one per line, such as a mounted secret."""
    cors_origins: str = EVERYWHERE
    """Origins, with commas, whose pages may use this gateway from a browser; `*` for all, empty for none."""

    max_text_characters: Annotated[int, Field(ge=1)] = 200_000
    """Longest text of one request, in characters."""
    max_body_bytes: Annotated[int, Field(ge=1)] = 2 * MIB
    """Largest request body."""
    max_waiting: Annotated[int, Field(ge=0)] = 1000
    """Requests that may wait for a slot in this gateway."""
    max_waiting_bytes: Annotated[int, Field(ge=0)] = 64 * MIB
    """Bytes of text that may wait for a slot in this gateway."""
    max_connections: Annotated[int, Field(ge=1)] = 4000
    """HTTP connections open at the same time."""
    hold_bytes: Annotated[int, Field(ge=1)] = 16 * MIB
    """An answer that is not streamed is held whole up to this size."""

    wait_s: Seconds = 60.0
    """Longest wait of a request for a slot, in seconds."""
    timeout_s: Seconds = 300.0
    """Whole time a request may take, waiting included, in seconds; for an answer that is not streamed."""
    stream_timeout_s: Seconds = 4 * 3600.0
    """The same for a streamed answer, which a listener may take at the pace of speech, in seconds."""
    body_timeout_s: Seconds = 10.0
    """Time for a request's body to arrive, in seconds."""
    send_timeout_s: Seconds = 120.0
    """A client that takes no byte of its answer for so long is cut off, in seconds."""
    keepalive_s: Seconds = 15.0
    """An idle connection, or one whose request head does not arrive, is closed after this, in seconds."""
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """Time that running requests get to finish after SIGTERM, in seconds."""

    stream_buffer_characters: Annotated[int, Field(ge=1)] = 20_000
    """Characters of one voice stream that may wait to be spoken."""
    stream_idle_s: Seconds = 300.0
    """A voice stream on which neither side says anything for so long is closed, in seconds."""
    stream_ping_s: Seconds = 20.0
    """Time between the pings of a voice stream, in seconds."""

    access_log: bool = False
    """Log one line per request."""

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop empty values, except where emptiness must not open what it seems to close."""
        return {name: value for name, value in values.items() if value != "" or name == "cors_origins"}

    @field_validator("model_aliases", "voice_aliases", "cors_origins")
    @classmethod
    def _is_readable(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            _PARSERS[info.field_name or ""](value)
        return value

    @field_validator("api_keys")
    @classmethod
    def _holds_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            _keys_in(value.get_secret_value(), ",")
        return value

    @field_validator("model")
    @classmethod
    def _is_model_token(cls, value: str | None) -> str | None:
        return value if value is None else check_token(value)

    def keys(self) -> list[str]:
        """Return the API keys. Raises SettingsError if GATEWAY_API_KEYS_FILE holds none or cannot be read."""
        keys = [] if self.api_keys is None else _keys_in(self.api_keys.get_secret_value(), ",")
        if self.api_keys_file is None:
            return keys
        try:
            with open(self.api_keys_file, encoding="utf-8") as file:
                return [*keys, *_keys_in(file.read(), "\n")]
        except (OSError, ValueError) as exc:
            raise SettingsError(f"GATEWAY_API_KEYS_FILE: {exc}") from None


def _keys_in(text: str, separator: str) -> list[str]:
    """Return the keys. Raises ValueError, which shows none; a list without any would open to everyone."""
    keys = [key.strip() for key in text.split(separator) if key.strip()]
    if not keys:
        raise ValueError("there is no key in it")
    if not all(_KEY.fullmatch(key) for key in keys):
        raise ValueError("a key must be printable ASCII without spaces")
    return keys
