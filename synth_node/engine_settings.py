"""What the settings of engines have in common; each engine's own are in its module."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from antiphon.settings import SettingsError


class EngineSettings(BaseSettings):
    """Settings of one engine, read when the node starts; a subclass sets `env_prefix`."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    def for_engine(self) -> dict[str, Any]:
        """Return what the engine in its process is made with: names and values that JSON can hold."""
        return self.model_dump(mode="json")


def secret(variable: str, value: SecretStr | None, file: str | None) -> str:
    """Return a secret: what `<variable>_FILE` holds, else the value of `variable`.

    Raises:
        SettingsError: neither is set, or the file cannot be read or is empty. The text shows no secret.
    """
    if file is not None:
        try:
            with open(file, encoding="utf-8") as opened:
                text = opened.read().strip()
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
            raise SettingsError(f"{variable}_FILE: {file}: {reason}") from None
        if not text:
            raise SettingsError(f"{variable}_FILE: {file} is empty")
        return text
    if value is None or not value.get_secret_value().strip():
        raise SettingsError(f"{variable} or {variable}_FILE has to be set for this engine")
    return value.get_secret_value().strip()
