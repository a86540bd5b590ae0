"""Settings of the gateway, read once from the environment."""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from antiphon.subjects import check_token

PREFIX: Final = "GATEWAY_"
MIB: Final = 1024 * 1024


class SettingsError(Exception):
    """A setting is unknown or has a bad value; the text is one sentence that names the variable."""


class GatewaySettings(BaseSettings):
    """Settings of one gateway; each field is the variable GATEWAY_<FIELD> unless it names another."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, env_ignore_empty=True)

    nats_url: Annotated[str, Field(validation_alias="NATS_URL", repr=False)] = "nats://127.0.0.1:4222"
    """NATS_URL: servers, separated by commas, in order of preference. May hold credentials."""
    tts_root: Annotated[str, Field(validation_alias="TTS_ROOT")] = "tts"
    """TTS_ROOT: the first token of every subject."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one, which the log names."""
    model: str | None = None
    """Model for requests that name none; without it the group's own default."""

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

    wait_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 60.0
    """Longest wait of a request for a slot, in seconds."""
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 300.0
    """Whole time a request may take, waiting included, in seconds."""
    body_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """Time for a request's body to arrive, in seconds."""
    send_timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    """A client that takes no byte of its answer for so long is cut off, in seconds."""
    keepalive_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 15.0
    """An idle connection, or one whose request head does not arrive, is closed after this, in seconds."""
    grace_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    """Time that running requests get to finish after SIGTERM, in seconds."""

    access_log: bool = False
    """Log one line per request."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important level that is logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """json, console, or auto: console on a terminal."""

    @field_validator("tts_root", "model")
    @classmethod
    def _is_token(cls, value: str | None) -> str | None:
        return value if value is None else check_token(value)

    @field_validator("nats_url")
    @classmethod
    def _names_a_server(cls, value: str) -> str:
        if not value.replace(",", "").strip():
            raise ValueError("names no server")
        return value

    @property
    def nats_urls(self) -> tuple[str, ...]:
        """The servers of NATS_URL in order."""
        return tuple(url.strip() for url in self.nats_url.split(",") if url.strip())


def load_settings() -> GatewaySettings:
    """Read the settings from the environment.

    Raises:
        SettingsError: a GATEWAY_ variable is unknown, or a value is not allowed.
    """
    known = {variable(name) for name in GatewaySettings.model_fields}
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name} is no setting of the gateway{hint}")
    try:
        return GatewaySettings()
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        name, reason = variable(str(first["loc"][0])), first["msg"]
        if reason.startswith("Input "):
            raise SettingsError(f"{name} {reason.removeprefix('Input ')}") from None
        raise SettingsError(f"{name}: {reason.removeprefix('Value error, ')}") from None


def variable(field: str) -> str:
    """Return the environment variable of a field (or the alias that pydantic reports in its place)."""
    info = GatewaySettings.model_fields.get(field)
    if info is None:
        return field
    return info.validation_alias if isinstance(info.validation_alias, str) else f"{PREFIX}{field.upper()}"
