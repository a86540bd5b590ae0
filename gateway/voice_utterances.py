"""From a sentence of a voice stream to an utterance of the group: aliases, bounds, trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from antiphon.client import TtsClient
from antiphon.utterance import Utterance
from gateway.aliases import Voices, parse_model_aliases, parse_voice_aliases
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.voice_messages import Options


class Utterances:
    """Has sentences spoken; shared by all streams."""

    def __init__(self, link: Link, settings: GatewaySettings) -> None:
        self.link = link
        self._wait_s = settings.wait_s
        self._timeout_s = settings.stream_timeout_s
        self._models = parse_model_aliases(settings.model_aliases)
        self._voices = Voices(parse_voice_aliases(settings.voice_aliases or ""))

    @asynccontextmanager
    async def utterance(
        self, text: str, options: Options, *, traceparent: str | None
    ) -> AsyncIterator[Utterance]:
        """Have `text` spoken; entering waits for the first audio, leaving early cancels the run.

        Raises:
            SpeechError: see antiphon/errors.py.
        """
        client, loop = self.link.client, asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        within_s = min(self._wait_s, self._timeout_s)
        request, model = options.request(text), await self._model(client, options.model)
        if options.voice is not None:
            model = await client.resolve(model, within_s=within_s)
            voice = await self._voices.meant(client, model, options.voice, within_s=within_s)
            request = replace(request, voice=voice)
        async with client.utterance(
            request,
            model=model,
            timeout_s=deadline - loop.time(),
            wait_s=self._wait_s,
            traceparent=traceparent,
        ) as utterance:
            yield utterance

    async def _model(self, client: TtsClient, name: str | None) -> str | None:
        """Return the model that a client means; a model of an alias's name that lives is meant itself."""
        if name is None or name not in self._models:
            return name
        alias_of = self._models[name]
        return name if alias_of is None and await client.knows(name) else alias_of
