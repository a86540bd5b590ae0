"""One accepted run on a node."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from synth_node.delivery import Delivery


class SlotRun:
    """One accepted run on this node, until all of its audio is delivered or it is cancelled."""

    def __init__(
        self, id: str, characters: int, started_at: float, budget_s: float, delivery: Delivery
    ) -> None:
        self.id = id
        self.characters = characters
        self.started_at = started_at
        self.deadline = started_at + budget_s
        self.delivery = delivery
        self.cancelled = False
        self._scope: asyncio.Timeout | None = None

    def scope(self) -> asyncio.Timeout:
        """Return the time limit to work under: it ends with the budget or when the run is cancelled."""
        self._scope = asyncio.timeout_at(0 if self.cancelled else self.deadline)
        return self._scope

    def cancel(self) -> None:
        """Stop working for this run and deliver nothing more."""
        if not self.cancelled:
            self.cancelled = True
            self.delivery.close()
            self.stop()

    def stop(self) -> None:
        """Stop working for this run; what is said to the caller then is the slot's decision."""
        if self._scope is not None and self._scope.when() is not None:
            with suppress(RuntimeError):  # it has ended by itself
                self._scope.reschedule(0)
