"""The race table: every fault, at every point of a request's way, ends well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio

from tests.conftest import GUARD_S
from tests.end_to_end.support_callers import (
    BUDGET_S,
    PLAIN,
    STREAM,
    WHOLE,
    Answer,
    Caller,
    Gateway,
    HttpCaller,
    LibraryCaller,
    PlainCaller,
    ProcessCaller,
)
from tests.end_to_end.support_group import Group, race_group
from tests.end_to_end.support_proxy import proxy
from tests.end_to_end.support_races import (
    CallerLeaves,
    Fault,
    Freeze,
    KillEngine,
    KillNode,
    Phase,
    RestartServer,
    Scene,
    accepted,
    audio_flowing,
    before_end,
    claim_sent,
    in_fifo,
    settled,
    woken,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

AUDIO, SILENCE, GONE, NEVER = "audio", "silence", "gone", None
"""What comes of a request: one whole answer; nothing, until the caller's own time-out; nothing, as nobody
listens any more; or the cell cannot exist. Anything else is the code of a typed error."""

LIBRARY, HTTP, PROCESS = "library", "http", "process"
"""Who calls: the client in this process, an HTTP client of a gateway, a process of its own."""

# A plain caller has no FIFO, so it is never woken, and no library that repeats its request: where that or its
# reply is lost with a dead node, or with the server, it learns so by its own time-out only. The audio that a
# stream has passed on cannot be taken back, so there a loss is an error; before, and in a whole answer, it is
# mended.
TABLE: Final[dict[tuple[str, str, Fault], dict[Phase, tuple[str | None, str | None, str | None]]]] = {
    ("kill-node", LIBRARY, KillNode()): {
        #              stream         whole  plain
        in_fifo: (AUDIO, AUDIO, NEVER),
        woken: (AUDIO, AUDIO, NEVER),
        claim_sent: (AUDIO, AUDIO, SILENCE),
        accepted: (AUDIO, AUDIO, SILENCE),
        audio_flowing: ("run_lost", AUDIO, SILENCE),
        before_end: ("run_lost", AUDIO, SILENCE),
    },
    ("kill-engine", LIBRARY, KillEngine()): {
        in_fifo: (AUDIO, AUDIO, NEVER),
        woken: (AUDIO, AUDIO, NEVER),
        claim_sent: (AUDIO, AUDIO, AUDIO),
        accepted: (AUDIO, AUDIO, AUDIO),
        audio_flowing: ("engine_crashed", AUDIO, AUDIO),
        before_end: (AUDIO, AUDIO, AUDIO),
    },
    ("freeze", LIBRARY, Freeze()): {
        in_fifo: (AUDIO, AUDIO, NEVER),
        woken: (AUDIO, AUDIO, NEVER),
        claim_sent: (AUDIO, AUDIO, AUDIO),
        accepted: (AUDIO, AUDIO, AUDIO),
        audio_flowing: ("run_lost", AUDIO, AUDIO),
        before_end: ("run_lost", AUDIO, AUDIO),
    },
    ("restart-server", LIBRARY, RestartServer()): {
        in_fifo: (AUDIO, AUDIO, NEVER),
        woken: (AUDIO, AUDIO, NEVER),
        claim_sent: (AUDIO, AUDIO, SILENCE),
        # The run goes on meanwhile, and its audio comes when both sides are back.
        accepted: (AUDIO, AUDIO, AUDIO),
        audio_flowing: (AUDIO, AUDIO, AUDIO),
        before_end: ("run_lost", AUDIO, SILENCE),
    },
    # A plain caller cannot cancel: it does not know the run.
    ("cancel", LIBRARY, CallerLeaves()): dict.fromkeys(
        (in_fifo, woken, claim_sent, accepted, audio_flowing, before_end), (GONE, GONE, NEVER)
    ),
    # Nothing is plain over HTTP: the gateway reads the stream also for a whole answer.
    ("http-client-leaves", HTTP, CallerLeaves()): dict.fromkeys(
        (in_fifo, woken, claim_sent, accepted, audio_flowing, before_end), (GONE, GONE, NEVER)
    ),
    ("kill-caller", PROCESS, CallerLeaves()): {
        in_fifo: (GONE, GONE, NEVER),
        woken: (GONE, GONE, NEVER),
        claim_sent: (GONE, GONE, GONE),
        accepted: (GONE, GONE, GONE),
        audio_flowing: (GONE, GONE, GONE),
        before_end: (GONE, GONE, GONE),
    },
}

CELLS: Final = [
    pytest.param(who, fault, phase, form, expected, id=f"{name}-{phase.__name__}-{form}")
    for (name, who, fault), row in TABLE.items()
    for phase, outcomes in row.items()
    for form, expected in zip((STREAM, WHOLE, PLAIN), outcomes, strict=True)
    if expected is not NEVER
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_group() -> AsyncIterator[Group]:
    """Two nodes with a slot each, for all cells."""
    async with race_group() as group:
        yield group


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(whole_group: Group) -> AsyncIterator[Gateway]:
    """A gateway for all cells over HTTP."""
    async with Gateway(whole_group) as gateway:
        yield gateway


@pytest_asyncio.fixture(loop_scope="module")
async def group(whole_group: Group) -> AsyncIterator[Group]:
    """The group as at its beginning, whatever the test before has left behind."""
    yield whole_group
    await whole_group.heal()


@pytest.mark.parametrize(("who", "fault", "phase", "form", "expected"), CELLS)
async def test_a_race_ends_well(
    group: Group, gateway: Gateway, who: str, fault: Fault, phase: Phase, form: str, expected: str
) -> None:
    text = group.text()
    async with AsyncExitStack() as stack:
        victim: Caller
        if who == PROCESS:
            between = await stack.enter_async_context(proxy(group.server.url))
            victim = ProcessCaller(group, between, text, form)
            stack.push_async_callback(victim.leave)
        elif who == HTTP:
            victim = HttpCaller(group, gateway, text, form)
        elif form == PLAIN:
            victim = PlainCaller(group, text)
        else:
            # A claim that is never answered keeps its inbox token until the budget ends.
            victim = LibraryCaller(group, text, form, budget_s=2.0 if phase is claim_sent else BUDGET_S)
        scene = Scene(group, text, form, victim)
        await phase(scene)
        await fault.strike(scene)
        if expected == GONE:
            await _is_gone(scene, phase)
            await fault.mend(scene)
        else:
            await _is_answered(scene, fault, expected)
        if scene.bystander is not None:
            assert _spoken(group, await scene.bystander.answer())
        await settled(scene)
        if isinstance(victim, PlainCaller):
            assert bool(victim.answer_so_far().audio) == (expected == AUDIO)


async def _is_answered(scene: Scene, fault: Fault, expected: str) -> None:
    scene.group.engines.let_end()
    if scene.form == PLAIN:
        await fault.mend(scene)
        if expected == SILENCE:
            return
    answer = await scene.victim.answer()
    assert answer.error == ("" if expected == AUDIO else expected)
    if expected == AUDIO:
        assert _spoken(scene.group, answer)
    if scene.form != PLAIN:
        await fault.mend(scene)


async def _is_gone(scene: Scene, phase: Phase) -> None:
    """Check that no engine works for a caller that has left; of a plain one's leaving nobody knows."""
    if scene.form == PLAIN:
        scene.group.engines.let_end()
        return
    if scene.speaking is not None:
        async with asyncio.timeout(GUARD_S):
            await scene.speaking.gone.wait()
    scene.group.engines.let_end(but=scene.text)
    await scene.group.until_armed()
    if phase in (in_fifo, woken):
        assert not scene.group.engines.of(scene.text)


def _spoken(group: Group, answer: Answer) -> bool:
    """Tell whether the answer is the whole audio of exactly one utterance."""
    return [speaking.ended for speaking in group.engines.all if speaking.audio == answer.audio] == [True]
