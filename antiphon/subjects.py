"""Every NATS subject and queue group, built here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

SYNTH_QUEUE: Final = "synth"
WAITERS_QUEUE: Final = "waiters"
VOICES_QUEUE: Final = "voices"
SERVICE_NAME: Final = "synth_node"

MAX_TOKEN_CHARACTERS: Final = 128
"""So that no subject passes the server's max_control_line, which would end the connection."""
_USUAL_NAME: Final = "tts_api"
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_TOKEN_CHARACTERS}}}")


def check_token(token: str) -> str:
    """Return `token`; raise ValueError unless it is a legal single subject token.

    nats-py lets an empty token and a wildcard through on publish, so every token is checked here.
    """
    if _TOKEN.fullmatch(token) is None:
        raise ValueError(
            f"{token[:40]!r} is no subject token: use letters, digits, '_' and '-', "
            f"{MAX_TOKEN_CHARACTERS} at most"
        )
    return token


def token_from(text: str) -> str:
    """Return `text` with every run of characters that a token may not have made one '-'."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:MAX_TOKEN_CHARACTERS] or "model"


def model_name(engine: str) -> str:
    """Return the model's name, a legal subject token, for an engine as it is named in the settings.

    A built-in engine has its own name. Of `module:attribute` and `path.py:attribute` it is the attribute; but
    where that is `tts_api`, as everybody calls it, it is the last part of the module's or the file's name:
    "voices.de:Anna" -> Anna, "my_models.fast:tts_api" -> fast, "models/my tts.py:tts_api" -> my-tts.
    """
    module, colon, attribute = engine.rpartition(":")
    if not colon:
        return token_from(engine)
    if attribute != _USUAL_NAME:
        return token_from(attribute)
    return token_from(PurePath(module).stem if module.endswith(".py") else module.rpartition(".")[2])


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects below one root; a test has a root of its own."""

    root: str = "tts"

    def __post_init__(self) -> None:
        check_token(self.root)

    def synth(self, model: str) -> str:
        """Requests, to one free slot (queue group `synth`)."""
        return f"{self.root}.synth.{check_token(model)}"

    def free(self, model: str) -> str:
        """A slot became free, to one waiting caller (queue group `waiters`)."""
        return f"{self.root}.free.{check_token(model)}"

    def waiting(self, model: str, caller: str) -> str:
        """How much one caller has waiting for `model`."""
        return f"{self.root}.waiting.{check_token(model)}.{check_token(caller)}"

    @property
    def waiting_all(self) -> str:
        """What all callers have waiting for all models."""
        return f"{self.root}.waiting.*.*"

    def cancel(self, node: str) -> str:
        """Cancels of runs on one node."""
        return f"{self.root}.node.{check_token(node)}.cancel"

    def credit(self, node: str) -> str:
        """Flow control of runs on one node."""
        return f"{self.root}.node.{check_token(node)}.credit"

    def heartbeat(self, model: str, node: str) -> str:
        """One node's heartbeat."""
        return f"{self.root}.heartbeat.{check_token(model)}.{check_token(node)}"

    @property
    def heartbeat_all(self) -> str:
        """The heartbeats of all nodes."""
        return f"{self.root}.heartbeat.*.*"

    @property
    def status(self) -> str:
        """Every node replies with its heartbeat."""
        return f"{self.root}.status"

    def voices(self, model: str) -> str:
        """One node of the model replies with its voices (queue group `voices`)."""
        return f"{self.root}.voices.{check_token(model)}"


def service(verb: str, node: str | None = None) -> str:
    """Return the service discovery subject of `verb` (PING, INFO, STATS) for all nodes or for one.

    Source: ADR-32, "Discovery and Status". It has no root: the `nats` tool knows only this one.
    """
    subject = f"$SRV.{check_token(verb)}.{SERVICE_NAME}"
    return subject if node is None else f"{subject}.{check_token(node)}"
