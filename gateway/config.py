"""Settings of the gateway, read once from the environment."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from antiphon.settings import ProcessSettings
from antiphon.subjects import check_token

MIB: Final = 1024 * 1024
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class GatewaySettings(ProcessSettings):
    """Settings of one gateway; each field is the variable GATEWAY_<FIELD> unless it names another."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", frozen=True, env_ignore_empty=True)

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

    wait_s: Seconds = 60.0
    """Longest wait of a request for a slot, in seconds."""
    timeout_s: Seconds = 300.0
    """Whole time a request may take, waiting included, in seconds."""
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

    @field_validator("model")
    @classmethod
    def _is_model_token(cls, value: str | None) -> str | None:
        return value if value is None else check_token(value)
