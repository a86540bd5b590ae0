"""A node process behind a proxy, which can be killed and started again."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack
from typing import Any

from antiphon.subjects import Subjects
from tests.conftest import NodeProcess, node_process
from tests.end_to_end.support_engines import ENGINE, MODEL
from tests.end_to_end.support_proxy import Proxy


class Node:
    """One node process behind its proxy; it can be started again after its death."""

    def __init__(self, subjects: Subjects, between: Proxy, settings: dict[str, Any]) -> None:
        self.proxy = between
        self._subjects = subjects
        self._settings = settings
        self._stack = AsyncExitStack()
        self.process: NodeProcess

    @property
    def pid(self) -> int:
        """Its process number."""
        return self.process.pid

    @property
    def slots(self) -> int:
        """How many slots it has."""
        return int(str(self._settings.get("slots", 1)))

    def send_signal(self, signum: int) -> None:
        """Send a signal to the node, not to its engines."""
        os.kill(self.pid, signum)

    async def kill(self) -> None:
        """Kill it, and wait until the server cannot hear it any more."""
        self.send_signal(signal.SIGKILL)
        await self.process.wait()
        await self.proxy.until_cut()

    async def start(self) -> None:
        """Start its process."""
        self.process = await self._stack.enter_async_context(
            node_process(self.proxy.url, self._subjects, engine=ENGINE, model=MODEL, **self._settings)
        )

    async def end(self) -> None:
        """Kill it if it runs, and forget it."""
        await self._stack.aclose()

    @property
    def runs(self) -> bool:
        """Whether its process has not ended."""
        return self.process.process.returncode is None
