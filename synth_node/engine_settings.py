"""What the settings of engines have in common; each engine's own are in its module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from antiphon.settings import SettingsError


class EngineSettings(BaseSettings):
    """Settings of one engine, read when the node starts; a subclass sets `env_prefix`."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    def for_engine(self) -> dict[str, Any]:
        """Return what the engine in its process is made with: names and values that JSON can hold."""
        return self.model_dump(mode="json")

    @property
    def voice_ids(self) -> tuple[str, ...]:
        """The voices, as far as settings alone tell; none where the engine has to be asked."""
        return ()


def check_default_voice(voice: str | None, settings: EngineSettings | None) -> None:
    """Look whether the voice for requests that name none, SYNTH_VOICE, can be one of the engine's.

    Raises:
        SettingsError: it is none.
    """
    ids = () if settings is None else settings.voice_ids
    if voice is not None and ids and voice not in ids:
        raise SettingsError(f"SYNTH_VOICE: there is no voice {voice!r} among {', '.join(ids)}")


def secret(variable: str, value: SecretStr | None, file: str | None) -> str:
    """Return a secret: what `<variable>_FILE` holds, else the value of `variable`.

    Raises:
        SettingsError: neither is set, the file cannot be read, or it is nothing that a header can hold.
            The text shows no secret.
    """
    source, text = _secret(variable, value, file)
    if not text.isascii() or not text.isprintable():
        raise SettingsError(f"{source} holds a line break or another character that no secret can have")
    return text


def _secret(variable: str, value: SecretStr | None, file: str | None) -> tuple[str, str]:
    """Return where a secret comes from, and the secret."""
    if file is not None:
        try:
            with open(file, encoding="utf-8") as opened:
                text = opened.read().strip()
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is no text"
            raise SettingsError(f"{variable}_FILE: {file}: {reason}") from None
        if not text:
            raise SettingsError(f"{variable}_FILE: {file} is empty")
        return f"{variable}_FILE", text
    if value is None or not value.get_secret_value().strip():
        raise SettingsError(f"{variable} or {variable}_FILE has to be set for this engine")
    return variable, value.get_secret_value().strip()


def address(value: str, schemes: Sequence[str], example: str) -> SplitResult:
    """Return the parts of a whole address, with scheme and host at least.

    Raises:
        ValueError: it is none, in words that do not repeat what stands there: it may be a password.
    """
    try:
        url = urlsplit(value)
        is_whole = url.scheme in schemes and bool(url.hostname) and url.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or any(character.isspace() for character in value):
        raise ValueError(f"must be an address such as {example}")
    return url


def read_voices(text: str) -> list[tuple[str, str, str]]:
    """Return (id, name, language) of each voice in `id=name/language,...`; a missing name is the id.

    Raises:
        ValueError: an id is empty or there twice, or there are commas alone.
    """
    voices = []
    for entry in filter(None, map(str.strip, text.split(","))):
        id, _, described = entry.partition("=")
        name, _, language = described.partition("/")
        voices.append((id.strip(), name.strip() or id.strip(), language.strip()))
    ids = {id for id, _, _ in voices}
    if len(ids) < len(voices) or "" in ids:
        raise ValueError("each voice needs an id of its own")
    if text and not voices:
        raise ValueError("there is no voice in it")
    return voices
