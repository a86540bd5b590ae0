"""Which model speaks: the one rule, for every way in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from antiphon.dispatch import Dispatcher
from antiphon.errors import AmbiguousModel, InvalidRequest, NoNodes, NotConnected
from antiphon.heartbeat import VoiceList
from antiphon.subjects import check_token
from antiphon.voices import VOICES_S, VoiceLists

Has = Callable[[str, VoiceList], bool]
"""Tells whether a model, with what it lists, has the voice that is asked for."""
_LOOK_S: Final = 0.01
_LOOK_AGAIN_S: Final = 0.25


class Choice:
    """Chooses a model for requests that do not name one."""

    def __init__(self, dispatcher: Dispatcher, voices: VoiceLists) -> None:
        self._dispatcher = dispatcher
        self._voices = voices

    async def model(
        self, named: str | None, default: str | None, voice: str | None, *, within_s: float, has: Has | None
    ) -> str:
        """Return the model that is meant; the first of these that there is:

        1. the one that is named
        2. the default one, if it has the voice, or lists no voices and so takes any
        3. the only one that has the voice
        4. the default one
        5. the only one that lives

        within_s: bound on waiting for nodes that were not heard of yet, or whose voices are not known yet. A
        default one that is ready waits for none that is starting.

        Raises:
            InvalidRequest: a name is no subject token.
            AmbiguousModel: several models could be meant.
            NoNodes: no node lives; or nobody has the voice, but somebody may who did not tell.
            NotConnected: there is no connection to NATS.
        """
        if named is not None:
            return _checked(named)
        if default is not None:
            default = _checked(default)
            if voice is None:
                return default
        ends_at = asyncio.get_running_loop().time() + within_s
        models = await self.models(ends_at, or_default=default is not None, any_two=voice is None)
        if voice is not None and len({*models, default} - {None}) > 1:
            owner = await self._owner(voice, default, ends_at, has or _lists(voice))
            if owner is not None:
                return owner
        if default is not None:
            return default
        if len(models) == 1:
            return models[0]
        if models:
            raise AmbiguousModel(f"name a model: there are {_in_words(models)}", param="model")
        if not self._dispatcher.connection.nc.is_connected:
            raise NotConnected("no connection to NATS")
        raise NoNodes("no node is alive")

    async def models(self, ends_at: float, *, or_default: bool = False, any_two: bool = False) -> list[str]:
        """Return the models that live, by name, once every node has had the time to tell of itself.

        or_default: none is as good. any_two: a third one would make no difference.
        """
        loop, dispatcher = asyncio.get_running_loop(), self._dispatcher
        ends_at = min(ends_at, loop.time() + dispatcher.timing.settle_s)
        while True:
            models = dispatcher.cluster.models(loop.time())
            told = dispatcher.settled.is_set() and (models or or_default or dispatcher.knows_all)
            if told or (any_two and len(models) > 1) or loop.time() >= ends_at:
                return models
            await asyncio.sleep(_LOOK_S)

    async def _owner(self, voice: str, default: str | None, ends_at: float, has: Has) -> str | None:
        """Return the model whose voice it is; None if nobody has it.

        Raises:
            AmbiguousModel: several have it, and none of them is the default one.
            NoNodes: a model that may have it has not told its voices.
        """
        loop = asyncio.get_running_loop()
        while True:
            ready, late = self._who_tells(default)
            if default in ready:  # it goes first: if it has the voice, nobody else is asked
                listed = (await self._told([default], ends_at))[default]
                if listed is not None and (not listed.voices or has(default, listed)):
                    return default
                late = []  # they may never start: what nobody has is the default one's to refuse
            lists = await self._told(ready, ends_at)
            owners = [model for model, each in lists.items() if each is not None and has(model, each)]
            silent = [*late, *(model for model, each in lists.items() if each is None)]
            decided = owners and default not in silent
            if decided or not late or loop.time() >= ends_at:
                break
            await asyncio.sleep(min(_LOOK_AGAIN_S, max(ends_at - loop.time(), 0.0)))
        if silent and not decided:
            unknown = f"{voice[:80]!r} may be a voice of {_in_words(silent)}, whose voices are not known yet"
            raise NoNodes(unknown, param="voice")
        if len(owners) > 1:
            both = f"name a model: {_in_words(owners)} have a voice {voice[:80]!r}"
            raise AmbiguousModel(both, param="model")
        return owners[0] if owners else None

    def _who_tells(self, default: str | None) -> tuple[list[str], list[str]]:
        """Return the models that can tell their voices now, and those that start.

        One that is being loaded tells its voices when it is ready, and holds up nobody until then.
        """
        now, cluster = asyncio.get_running_loop().time(), self._dispatcher.cluster
        models = cluster.models(now)
        if default is not None and default not in models and self._voices.known(default) is not None:
            models.append(default)  # what it was before its nodes left
        late = [m for m in models if not cluster.is_ready(m, now) and self._voices.known(m) is None]
        return [model for model in models if model not in late], late

    async def _told(self, models: list[str], ends_at: float) -> dict[str, VoiceList | None]:
        within_s = min(VOICES_S, ends_at - asyncio.get_running_loop().time())
        return await self._voices.of_each(models, within_s=within_s)


def _lists(voice: str) -> Has:
    return lambda _, listed: listed.find(voice) is not None


def _checked(model: str) -> str:
    try:
        return check_token(model)
    except ValueError:
        raise InvalidRequest(f"model {model[:40]!r} is no model name", param="model") from None


def _in_words(models: list[str]) -> str:
    return f"{', '.join(models[:-1])} and {models[-1]}" if len(models) > 1 else models[0]
