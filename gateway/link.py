"""The gateway's way to the group: a client once NATS is reached, an honest error before."""

from __future__ import annotations

from antiphon.client import TtsClient
from antiphon.errors import NotConnected


class Link:
    """Holds the client, so that HTTP is answered before NATS is reached and while the process ends."""

    def __init__(self) -> None:
        self._client: TtsClient | None = None

    def set(self, client: TtsClient | None) -> None:
        """Speak through `client` from now on; None is not to speak."""
        self._client = client

    @property
    def client(self) -> TtsClient:
        """The client. Raises NotConnected while there is none."""
        if self._client is None:
            raise NotConnected("the gateway has no connection to NATS")
        return self._client
