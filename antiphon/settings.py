"""Reading the settings of a process from its environment, with sentences that name the variable at fault.

Needs pydantic-settings: imported by the processes, not by the bare client.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings

from antiphon.servers import DEFAULT_SERVER, server_list
from antiphon.subjects import check_token

S = TypeVar("S", bound=BaseSettings)
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A time that has to be some, and bounded."""


class SettingsError(Exception):
    """A setting is unknown or has a bad value; the text is one sentence that names the variable."""


class ProcessSettings(BaseSettings):
    """What every process of a group has in common."""

    nats_url: Annotated[str, Field(validation_alias="NATS_URL", repr=False)] = DEFAULT_SERVER
    """NATS_URL: servers, separated by commas, in order of preference. May hold credentials."""
    nats_url_file: Annotated[str | None, Field(validation_alias="NATS_URL_FILE")] = None
    """NATS_URL_FILE: file with what NATS_URL would hold, such as a mounted secret."""
    nats_ca_file: Annotated[str | None, Field(validation_alias="NATS_CA_FILE")] = None
    """NATS_CA_FILE: certificates of the authority that signed the server's, for tls:// URLs; PEM."""
    nats_inbox_prefix: Annotated[str, Field(validation_alias="NATS_INBOX_PREFIX")] = "_INBOX"
    """NATS_INBOX_PREFIX: first tokens of reply subjects, where permissions ask for one."""
    tts_root: Annotated[str, Field(validation_alias="TTS_ROOT")] = "tts"
    """TTS_ROOT: the first token of every subject."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(validation_alias="LOG_LEVEL")
    ] = "info"
    """LOG_LEVEL: least important level that is logged."""
    log_format: Annotated[Literal["auto", "json", "console"], Field(validation_alias="LOG_FORMAT")] = "auto"
    """LOG_FORMAT: json, console, or auto: console on a terminal."""

    @field_validator("tts_root")
    @classmethod
    def _is_token(cls, value: str) -> str:
        return check_token(value)

    @field_validator("nats_url")
    @classmethod
    def _names_a_server(cls, value: str) -> str:
        server_list(value)
        return value

    @property
    def nats_urls(self) -> list[str]:
        """The servers in order. Raises SettingsError if NATS_URL_FILE cannot be read."""
        if self.nats_url_file is None:
            return server_list(self.nats_url)
        try:
            with open(self.nats_url_file, encoding="utf-8") as file:
                return server_list(file.read())
        except (OSError, ValueError) as exc:
            raise SettingsError(f"NATS_URL_FILE: {exc}") from None


def load(cls: type[S], *others: type[BaseSettings]) -> S:
    """Read the settings of class `cls` from the environment.

    others: classes of settings that share its prefix; their variables are known too, but not read.

    Raises:
        SettingsError: a variable with the class's prefix is unknown, or a value is not allowed.
    """
    prefix = cls.model_config["env_prefix"]
    classes: tuple[type[BaseSettings], ...] = (cls, *others)
    known = {variable(each, name) for each in classes for name in each.model_fields}
    for name in sorted(os.environ):
        if name.upper() in known and os.environ[name].encode(errors="replace").decode() != os.environ[name]:
            raise SettingsError(f"{name} is no UTF-8")
        if name.upper().startswith(prefix) and name.upper() not in known:
            near = get_close_matches(name.upper(), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SettingsError(f"{name} is no setting of this process{hint}")
    try:
        return cls()
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False, include_context=False)[0]
        # A check of several fields together has no place of its own, and names them in its text.
        name = variable(cls, str(first["loc"][0])) if first["loc"] else "the settings"
        reason = first["msg"]
        if reason.startswith("Input "):
            raise SettingsError(f"{name} {reason.removeprefix('Input ')}") from None
        raise SettingsError(f"{name}: {reason.removeprefix('Value error, ')}") from None


def variable(cls: type[BaseSettings], field: str) -> str:
    """Return the environment variable of a field (or the alias that pydantic reports in its place)."""
    info = cls.model_fields.get(field)
    if info is None:
        return field
    prefix = cls.model_config["env_prefix"]
    return info.validation_alias if isinstance(info.validation_alias, str) else f"{prefix}{field.upper()}"
