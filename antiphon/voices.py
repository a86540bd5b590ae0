"""What models list as their voices: asked of a node once, and again when heartbeats tell of a change."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import nats.errors

from antiphon.dispatch import Dispatcher
from antiphon.errors import MalformedMessage, NoNodes, NotConnected, SpeechError
from antiphon.heartbeat import VoiceList, decode_voices

VOICES_S: Final = 2.0
"""Bound on having the voices of a model whose nodes are ready."""
MAX_KEPT: Final = 50_000
"""Voices and aliases that are kept, of all models; the list not wanted for longest is forgotten first."""
_ANSWER_S: Final = 0.5
"""Time for one node to list its voices; then another is asked: the first may be frozen."""
_ASK_AGAIN_S: Final = 0.05
_log: Final = logging.getLogger(__name__)

_Hashes = frozenset[str]
"""What the nodes of one model call their voices; more than one if they differ."""


class VoiceLists:
    """The voice lists of all models; shared by all callers of one process.

    Of each model the last list is kept, for what its nodes called their voices together when they were asked.
    So nodes that differ cost one question more, not one with each heartbeat.
    """

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._known: dict[str, tuple[_Hashes, VoiceList]] = {}
        self._asked: dict[str, asyncio.Future[VoiceList]] = {}

    async def of(self, model: str, *, within_s: float = VOICES_S) -> VoiceList:
        """Return a model's voices; while no node can tell them, what was known last.

        within_s: bound on waiting for nodes that start, or that were not heard of yet.

        Raises:
            NoNodes: nothing was known yet, and no node has told it in time.
            NotConnected: there is no connection to NATS.
        """
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + within_s
        while (known := self.known(model)) is None:
            try:
                async with asyncio.timeout_at(ends_at):
                    return await asyncio.shield(self._asked.get(model) or self._ask(model))
            except (NoNodes, TimeoutError):
                if loop.time() >= ends_at and not self._dispatcher.connection.nc.is_connected:
                    raise NotConnected("no connection to NATS") from None
                if self._dispatcher.absent(model):
                    raise self._dispatcher.no_nodes(model) from None
                if loop.time() >= ends_at:
                    raise NoNodes(f"no node of model {model} tells its voices", param="model") from None
            await asyncio.sleep(_ASK_AGAIN_S)
        return known

    async def of_each(self, models: Iterable[str], *, within_s: float) -> dict[str, VoiceList | None]:
        """Return the voices of several models, each asked for itself; None for one that did not tell them."""
        lists = {model: self.known(model) for model in models}

        async def look(model: str) -> None:
            with suppress(SpeechError):
                lists[model] = await self.of(model, within_s=within_s)

        async with asyncio.TaskGroup() as looking:
            for model in [model for model, listed in lists.items() if listed is None]:
                looking.create_task(look(model), name=f"voices of {model}")
        return lists

    def known(self, model: str) -> VoiceList | None:
        """Return what needs no question: what the nodes that live list, or what the last ones listed."""
        kept = self._known.pop(model, None)
        if kept is None:
            return None
        self._known[model] = kept  # the last in use is the last to be forgotten
        hashes, listed = kept
        return listed if self._hashes(model) in (hashes, frozenset()) else None

    @property
    def models(self) -> list[str]:
        """The models whose voices were ever known, by name."""
        return sorted(self._known)

    def _hashes(self, model: str) -> _Hashes:
        now = asyncio.get_running_loop().time()
        beats = (seen.heartbeat for seen in self._dispatcher.cluster.nodes(now, model))
        return frozenset(beat.voices_hash for beat in beats if beat.voices_hash)

    def _ask(self, model: str) -> asyncio.Future[VoiceList]:
        """Ask one node; whoever wants the same list meanwhile waits for the same answer."""
        answer: asyncio.Future[VoiceList] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(lambda done: done.exception())  # perhaps nobody waits for it any more
        self._asked[model] = answer
        self._dispatcher.spawn(self._answer(model, answer), f"ask {model} for its voices")
        return answer

    async def _answer(self, model: str, answer: asyncio.Future[VoiceList]) -> None:
        hashes = self._hashes(model)
        try:
            voices = await self._request(model)
            if hashes:
                self._keep(model, hashes, voices)
            answer.set_result(voices)
        except SpeechError as exc:
            answer.set_exception(exc)
        finally:
            del self._asked[model]
            if not answer.done():
                answer.set_exception(NotConnected("the connection is being closed"))

    async def _request(self, model: str) -> VoiceList:
        subject = self._dispatcher.subjects.voices(model)
        try:
            reply = await self._dispatcher.connection.nc.request(subject, b"", timeout=_ANSWER_S)
            return decode_voices(reply.data)
        except (nats.errors.NoRespondersError, nats.errors.TimeoutError):
            raise NoNodes(f"no node of model {model} tells its voices", param="model") from None
        except nats.errors.Error as exc:
            raise NotConnected(f"no connection to NATS: {exc}") from exc
        except MalformedMessage as exc:
            raise SpeechError(f"a node of model {model} sent no voice list") from exc

    def _keep(self, model: str, hashes: _Hashes, voices: VoiceList) -> None:
        if len(hashes) > 1:
            _log.warning("the nodes of model %s list different voices", model)
        self._known.pop(model, None)
        self._known[model] = hashes, voices
        while sum(1 + len(each.voices) + len(each.aliases) for _, each in self._known.values()) > MAX_KEPT:
            del self._known[next(iter(self._known))]
