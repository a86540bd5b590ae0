"""From the names that a client under /v1 gives to a model that speaks and a voice that it has."""

from __future__ import annotations

import asyncio

from antiphon.client import TtsClient
from antiphon.heartbeat import VoiceList
from antiphon.openai_voices import OPENAI_VOICES
from gateway.aliases import other_names, parse_model_aliases, parse_voice_aliases
from gateway.config import GatewaySettings


class Names:
    """What clients under /v1 mean by the names of models and voices."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.models = parse_model_aliases(settings.model_aliases)
        self.voices = parse_voice_aliases(settings.voice_aliases or "")

    async def model(self, client: TtsClient, name: str | None, *, any_name: bool) -> str | None:
        """Return the model that a name means; None for an alias of the default one.

        any_name: so is a name that was never heard of. A model whose nodes are all gone is meant still:
        another one would speak with another voice.
        """
        if name is None:
            return None
        if (alias_of := self.models.get(name)) is not None:
            return alias_of
        if name in self.models or any_name:
            return name if await client.knows(name) else None
        return name

    async def meant(
        self, client: TtsClient, model: str | None, voice: str | None, *, within_s: float
    ) -> tuple[str, str | None]:
        """Return the model that speaks, and the voice by the name that this model has for it.

        model: None if the client named none. A voice that nobody knows comes back as it is.

        Raises:
            AmbiguousModel, NoNodes: see TtsClient.resolve.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s

        def has(model: str, listed: VoiceList) -> bool:
            alike = self.voices.get((None, voice or ""), voice or "")
            return (model, voice) in self.voices or listed.find(alike) is not None or deals(model)

        def deals(model: str) -> bool:
            configured = (alias for _, alias in self.voices)
            return model == client.default_model and voice in OPENAI_VOICES and voice not in configured

        model = await client.resolve(model, voice, within_s=within_s, has=has)
        if voice is None:
            return model, None
        listed = await client.voice_list(model, within_s=ends_at - loop.time())
        return model, other_names(model, listed, self.voices).get(voice, voice)
