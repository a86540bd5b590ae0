"""Many requests at once, and whether their answers are whole."""

from __future__ import annotations

import asyncio

from tests.conftest import GUARD_S, until
from tests.end_to_end.support_callers import WHOLE, Answer, LibraryCaller
from tests.end_to_end.support_group import Group

TRAFFIC_BUDGET_S = 5.0
"""A claim that is never answered keeps its inbox token so long."""


def whole(group: Group, answer: Answer) -> bool:
    """Tell whether the answer is the whole audio of exactly one utterance."""
    return [each.ended for each in group.engines.all if each.audio == answer.audio] == [True]


async def begin(group: Group, n: int, form: str = WHOLE) -> list[LibraryCaller]:
    """Send so many requests."""
    callers = [LibraryCaller(group, group.text(), form) for _ in range(n)]
    for caller in callers:
        await caller.begin()
    return callers


class Traffic:
    """Requests without a pause, some at a time, that the engines answer at once."""

    def __init__(self, group: Group, at_a_time: int) -> None:
        self.answers: list[Answer] = []
        self._group = group
        self._stop = False
        self._tasks = [
            asyncio.create_task(self._send(), name=f"caller {number}") for number in range(at_a_time)
        ]

    async def _send(self) -> None:
        while not self._stop:
            caller = LibraryCaller(self._group, self._group.text(), WHOLE, budget_s=TRAFFIC_BUDGET_S)
            await caller.begin()
            self.answers.append(await caller.answer())

    async def flows(self, n: int) -> None:
        """Wait for so many further answers."""
        enough = len(self.answers) + n
        await until(lambda: len(self.answers) >= enough, f"{n} further answers")

    async def end(self) -> None:
        """Send nothing more, and check that all was answered."""
        self._stop = True
        await asyncio.gather(*self._tasks)
        assert {answer.error for answer in self.answers} == {""}
        assert all(whole(self._group, answer) for answer in self.answers)


async def flood(group: Group, *, n_runs: int) -> None:
    """Send plain requests without a pause, so that a slot is hit in the moment in which it joins."""
    nc = group.plain.nc
    inbox = nc.new_inbox()
    async with asyncio.timeout(GUARD_S):
        while len(group.engines.of("flood")) < n_runs:
            await nc.publish(group.synth_subject, b"flood", reply=inbox)
            await nc.flush()
