"""One engine under check: it speaks as it would for a node, and how it does is noted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from antiphon.errors import EngineCrashed, EngineFailed, SpeechError
from synth_node.audio.decode import PulledFile, decoded
from synth_node.check.printed import Printed
from synth_node.check.wish import Wish, usual_s
from synth_node.config import SynthSettings
from synth_node.engine_info import EngineInfo
from synth_node.engine_settings import EngineSettings
from synth_node.host import EngineRequest, EngineUnavailable, Host, NotStarted
from synth_node.hosts import Hosts
from synth_node.process.host import MAX_BACK_OFF_S, EngineHost
from synth_node.process.memory import Memory, memory_of

_MOST_TIMES_USUAL: Final = 30
_MOST_MORE_S: Final = 60.0
_LEAST_S: Final = 1e-7
_MOST_FILE_BYTES: Final = 64 * 1024 * 1024


class NotBack(Exception):
    """An engine that had ended, or was cancelled, is not ready again in time."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One utterance as it came.

    sample_rate: of its PCM in Hz, 0 for an encoded file. first_s, total_s: from the request to the first
    audio and to the end; first_s is None without any. failure: why it is not complete.
    """

    text: str
    sample_rate: int
    audio: bytes = field(repr=False)
    first_s: float | None
    total_s: float
    failure: SpeechError | None

    @property
    def crashed(self) -> bool:
        """Whether the engine's process did not survive it."""
        return isinstance(self.failure, EngineCrashed)

    def samples(self) -> tuple[int, bytes]:
        """Return sample rate in Hz and mono s16le samples. Raises BadAudio for a file that is none."""
        if self.sample_rate:
            return self.sample_rate, self.audio
        file = iter((self.audio,))
        pieces = list(decoded(PulledFile(lambda: next(file, None))))
        return (pieces[0][0], b"".join(pcm for _, pcm in pieces)) if pieces else (1, b"")


class Trial:
    """What the checks work with.

    deadline: on the loop's clock. spoken: the utterances that its pace is measured with. memory: after each.
    """

    def __init__(
        self, host: Host, settings: SynthSettings, wish: Wish, printed: Printed, deadline: float
    ) -> None:
        self.host = host
        self.settings = settings
        self.wish = wish
        self.printed = printed
        self.deadline = deadline
        self.spoken: list[Heard] = []
        self.memory: list[Memory] = []
        self._noted_pid: int | None = None

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""
        return self.host.info

    @property
    def process(self) -> EngineHost | None:
        """Its process; None for an engine behind the network."""
        return self.host if isinstance(self.host, EngineHost) else None

    @property
    def per_character_s(self) -> float:
        """Mean time for a character, in seconds, as far as it was measured."""
        n_characters = sum(len(heard.text) for heard in self.spoken)
        return max(_LEAST_S, sum(heard.total_s for heard in self.spoken) / max(1, n_characters))

    @property
    def rest_s(self) -> float:
        """Time that is left for the check, in seconds."""
        return self.deadline - asyncio.get_running_loop().time()

    async def ready(self) -> float:
        """Wait until the engine is free; return how long that took. Raises NotBack."""
        began_at = monotonic()
        within_s = self.settings.start_s + MAX_BACK_OFF_S
        try:
            async with asyncio.timeout(within_s):
                await self.host.ready()
        except TimeoutError:
            raise NotBack(self.printed.not_started or f"it was not ready within {within_s:g} s") from None
        return monotonic() - began_at

    async def speak(
        self, text: str, *, voice: str | None = None, speed: float = 1.0, alone: bool = False
    ) -> Heard:
        """Speak one utterance to its end. alone: in no batch with others. Raises NotBack."""
        await self.ready()
        pieces: list[bytes] = []
        n_bytes, most = 0, _MOST_FILE_BYTES
        first_s, failure = None, None
        began_at = monotonic()
        utterance = self.host.speak(EngineRequest(text, voice, speed, alone=alone))
        try:
            while (piece := await utterance.next()) is not None:
                if first_s is None:
                    first_s = monotonic() - began_at
                    if rate := utterance.sample_rate:
                        most = round(2 * rate * (_MOST_TIMES_USUAL * usual_s(text) + _MOST_MORE_S))
                pieces.append(piece)
                n_bytes += len(piece)
                if n_bytes > most:
                    raise EngineFailed(f"it gave {n_bytes} bytes of audio and did not end")
        except SpeechError as exc:
            failure = exc
        except NotStarted as exc:
            failure = EngineCrashed(str(exc))
        finally:
            self.host.leave(utterance)
        total_s = monotonic() - began_at
        return Heard(text, utterance.sample_rate or 0, b"".join(pieces), first_s, total_s, failure)

    def note_memory(self) -> None:
        """Note how much memory the engine's process has now; that of an earlier process is forgotten."""
        pid = None if self.process is None else self.process.pid
        if pid != self._noted_pid:
            self.memory.clear()
        self._noted_pid = pid
        if pid is not None and (memory := memory_of(pid)) is not None:
            self.memory.append(memory)


@asynccontextmanager
async def opened(
    settings: SynthSettings, engine_settings: EngineSettings | None
) -> AsyncIterator[list[Host]]:
    """Start the engine just as a node does; give the hosts of its slots.

    Raises:
        EngineUnavailable: in a group, if the engine is behind the network or its process is shared.
    """
    async with Hosts(settings, engine_settings, lambda _: None) as hosts:
        slots, works = [hosts.of_slot(number) for number in range(settings.slots)], list(hosts.works())
        if not works:
            async with AsyncExitStack() as stack:
                yield [await stack.enter_async_context(host) for host in slots]
            return
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            for work, name in works:
                stack.callback(tasks.create_task(work, name=name).cancel)
            try:
                # One behind the network would wait for its server for as long as a node lives.
                async with asyncio.timeout(settings.start_s if settings.processes is None else None):
                    for host in slots:
                        await stack.enter_async_context(host)
            except TimeoutError:
                raise EngineUnavailable(
                    f"the engine's server could not be reached within {settings.start_s:g} s"
                ) from None
            yield slots
