"""From a sentence of a voice stream to an utterance of the group: aliases, bounds, trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

from antiphon.utterance import Utterance
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.names import Names
from gateway.voice_messages import Options


class Utterances:
    """Has sentences spoken; shared by all streams."""

    def __init__(self, link: Link, settings: GatewaySettings) -> None:
        self.link = link
        self._wait_s = settings.wait_s
        self._timeout_s = settings.stream_timeout_s
        self._names = Names(settings)

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
        named = await self._names.model(client, options.model, any_name=False)
        model, voice = await self._names.meant(client, named, options.voice, within_s=within_s)
        request = replace(options.request(text), voice=voice)
        async with client.utterance(
            request,
            model=model,
            timeout_s=deadline - loop.time(),
            wait_s=self._wait_s,
            traceparent=traceparent,
        ) as utterance:
            yield utterance
