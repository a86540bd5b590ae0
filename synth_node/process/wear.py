"""When an engine's process has served its time, for engines that leak."""

from __future__ import annotations

import asyncio
import random
from typing import Final

from synth_node.host import EngineUnavailable
from synth_node.process.engine import EngineProcess
from synth_node.process.memory import memory_of_all
from synth_node.process.options import EngineOptions

WATCH_S: Final = 0.5
"""Time between two looks at the memory of an engine at work."""
FAR: Final = 1.5
"""So many times its bound is too much memory to wait for the end of an utterance."""
_MIB: Final = 1024 * 1024


class Wear:
    """Counts what an engine has spoken, and measures the memory of its process."""

    def __init__(self, options: EngineOptions) -> None:
        self._recycle_after = options.recycle_after
        self._memory_bytes = options.memory_bytes
        # The first process lives for less, each slot's for another time: or all would be away together.
        self._left = random.randint(options.recycle_after - options.recycle_after // 2, options.recycle_after)

    @property
    def is_known(self) -> bool:
        """Whether the process certainly need not be replaced, without a look at it."""
        return not self._memory_bytes and not self._is_over

    @property
    def _is_over(self) -> bool:
        return self._recycle_after > 0 and self._left <= 0

    def spoke(self, n_segments: int) -> None:
        """Count segments."""
        self._left -= n_segments

    def renew(self) -> None:
        """Begin anew, with another process."""
        self._left = self._recycle_after

    async def why(self, pid: int) -> str | None:
        """Return why the process is to be replaced, for people; None if it is not."""
        if self._is_over:
            return "it has spoken its segments"
        used = await self._memory(pid, self._memory_bytes)
        if used > self._memory_bytes:
            return f"it takes {used // _MIB} MiB"
        return None

    async def check_start(self, pid: int) -> None:
        """Raise EngineUnavailable if a process that has just started would have to be replaced at once."""
        used = await self._memory(pid, self._memory_bytes)
        if used > self._memory_bytes:
            takes = f"the engine takes {used // _MIB} MiB as soon as it has started"
            raise EngineUnavailable(f"{takes}; SYNTH_MEMORY_MIB={self._memory_bytes // _MIB} is too little")

    async def watch(self, process: EngineProcess) -> None:
        """Return when the process has ended; one that takes far too much memory is killed."""
        while not process.ended.done():
            # Not awaited itself: a cancel would reach it.
            await asyncio.wait((process.ended,), timeout=WATCH_S if self._memory_bytes else None)
            used = await self._memory(process.pid, far := int(FAR * self._memory_bytes))
            if used > far:
                process.kill(f"the engine takes {used // _MIB} MiB")

    async def _memory(self, pid: int, bound: int) -> int:
        return await asyncio.to_thread(memory_of_all, pid, bound) if self._memory_bytes else 0
