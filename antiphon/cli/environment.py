"""Where NATS is and how to connect to it, as `--nats` and the environment say.

The variables are those of settings.py, read without its library: `antiphon say` needs nothing but the client.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import Any, Final

import click

from antiphon.servers import DEFAULT_SERVER, redacted, server_list
from antiphon.subjects import Subjects, check_token

__all__ = ["DEFAULT_SERVER", "Nats", "nats_at", "nats_found"]

_URL: Final = "NATS_URL"
_URL_FILE: Final = "NATS_URL_FILE"


@dataclass(frozen=True, slots=True)
class Nats:
    """The server to use and how to connect to it.

    urls: servers, separated by commas; may hold credentials. from_file: they stand in that of NATS_URL_FILE.
    ca_file: certificates of the server's authority, None for the system's.
    """

    urls: str = field(repr=False)
    from_file: bool
    ca_file: str | None
    inbox_prefix: str
    subjects: Subjects

    @property
    def shown(self) -> str:
        """The servers without their credentials."""
        return ",".join(redacted(url) for url in server_list(self.urls))

    def options(self) -> dict[str, Any]:
        """Return what connection.connected takes besides the servers."""
        return {"ca_file": self.ca_file, "inbox_prefix": self.inbox_prefix}

    def environment(self) -> dict[str, str]:
        """Return our environment for a process that is to use the same server.

        A file with another server would win over NATS_URL there, so it is not passed on.
        """
        if self.from_file:
            return dict(os.environ)
        # Settings are read without regard to case.
        ours = {name: value for name, value in os.environ.items() if name.upper() not in (_URL, _URL_FILE)}
        return {**ours, _URL: self.urls}


def nats_found(option: str | None) -> Nats | None:
    """Return the server that `--nats` names, else the one of NATS_URL_FILE or NATS_URL; None without any.

    Raises:
        click.ClickException: what was named cannot be used; one sentence, without credentials.
    """
    if option is not None:
        return nats_at(_checked("--nats", option))
    if path := os.environ.get(_URL_FILE):
        try:
            with open(path, encoding="utf-8") as file:
                return nats_at(_checked(_URL_FILE, file.read()), from_file=True)
        except (OSError, UnicodeDecodeError) as exc:
            raise _bad(_URL_FILE, f"{path} cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    if urls := os.environ.get(_URL):
        return nats_at(_checked(_URL, urls))
    return None


def nats_at(urls: str, *, from_file: bool = False) -> Nats:
    """Return the server at `urls`, with what the environment says about connecting to it.

    Raises:
        click.ClickException: a variable has a bad value; one sentence.
    """
    return Nats(urls, from_file, _ca_file(), _inbox_prefix(), _subjects())


def _checked(source: str, urls: str) -> str:
    try:
        return ",".join(server_list(urls))
    except ValueError as exc:
        raise _bad(source, str(exc)) from None


def _ca_file() -> str | None:
    path = os.environ.get("NATS_CA_FILE") or None
    if path is not None:
        try:
            ssl.create_default_context(cafile=path)
        except OSError as exc:  # of which ssl.SSLError is one
            raise _bad("NATS_CA_FILE", f"{path} cannot be used: {exc.strerror or exc}") from None
    return path


def _inbox_prefix() -> str:
    prefix = os.environ.get("NATS_INBOX_PREFIX") or "_INBOX"
    try:
        for token in prefix.split("."):
            check_token(token)
    except ValueError as exc:
        raise _bad("NATS_INBOX_PREFIX", str(exc)) from None
    return prefix


def _subjects() -> Subjects:
    try:
        return Subjects(os.environ.get("TTS_ROOT") or "tts")
    except ValueError as exc:
        raise _bad("TTS_ROOT", str(exc)) from None


def _bad(source: str, reason: str) -> click.ClickException:
    return click.ClickException(f"{source}: {reason}.")
