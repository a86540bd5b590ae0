"""The last row of the race table: `accepted` comes after the caller has stopped waiting for it.

One node's `accepted` is held back until the caller has sent its request again, wherever that is then.
A plain request is not accepted by a message of its own, so there is nothing to be late.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pytest
import pytest_asyncio

from tests.conftest import GUARD_S
from tests.end_to_end.support_callers import STREAM, WHOLE, LibraryCaller
from tests.end_to_end.support_engines import MODEL, Speaking
from tests.end_to_end.support_group import Group, race_group
from tests.end_to_end.support_node import Node

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Late:
    """A request whose first acceptance is held back. first: the engine at work on it. second: the next."""

    group: Group
    text: str
    caller: LibraryCaller
    first: Speaking
    first_node: Node
    other: Node
    occupant: Speaking
    second: Speaking | None = None


async def in_fifo(late: Late) -> None:
    """The request was sent again by the FIFO, met no responders, and waits."""
    await late.group.caller_proxy.down.until_passed(b"NATS/1.0 503")


async def woken(late: Late) -> None:
    """A wake-up is on its way to the caller."""
    await in_fifo(late)
    late.group.caller_proxy.down.hold()
    late.occupant.end()
    await late.group.caller_proxy.down.until_held(late.group.subjects.free(MODEL).encode())


async def claim_sent(late: Late) -> None:
    """The second attempt is on its way to the other node."""
    await in_fifo(late)
    late.other.proxy.down.hold()
    late.occupant.end()
    await late.other.proxy.down.until_held(f"{late.group.synth_subject} ".encode())


async def accepted(late: Late) -> None:
    """The other node has accepted the second attempt."""
    await in_fifo(late)
    late.occupant.end()
    late.second = await late.group.engines.next(late.text)
    await late.group.caller_proxy.down.until_passed(b"\xa8accepted")


async def audio_flowing(late: Late) -> None:
    """The first audio of the second attempt has reached the caller."""
    await accepted(late)
    assert late.second is not None
    await late.group.caller_proxy.down.until_passed(late.second.piece())


async def before_end(late: Late) -> None:
    """The end of the second attempt is on its way."""
    await audio_flowing(late)
    assert late.second is not None
    late.other.proxy.up.hold()
    late.second.end()
    await late.other.proxy.up.until_held(b"\xa3end")


FIRST, SECOND = "first", "second"
# Phase of the second attempt, and the run that the caller takes: the one whose `accepted` it sees first. The
# other one is cancelled.
TABLE: Final[dict[Callable[[Late], Awaitable[None]], str]] = {
    in_fifo: FIRST,
    woken: FIRST,
    claim_sent: FIRST,
    accepted: SECOND,
    audio_flowing: SECOND,
    before_end: SECOND,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_group() -> AsyncIterator[Group]:
    """Two nodes with a slot each, for all cells."""
    async with race_group() as group:
        yield group


@pytest_asyncio.fixture(loop_scope="module")
async def group(whole_group: Group) -> AsyncIterator[Group]:
    """The group as at its beginning."""
    yield whole_group
    await whole_group.heal()


async def _begin(group: Group, form: str) -> Late:
    """Send a request of which a node's `accepted` is held back, while the other node is busy."""
    occupant, other = await group.occupy()
    first_node = group.node_of(other)
    other.end()
    await group.until_armed(1)
    first_node.proxy.up.hold()
    group.caller_proxy.down.forget()
    text = group.text()
    caller = LibraryCaller(group, text, form)
    await caller.begin()
    first = await group.engines.next(text)
    await first_node.proxy.up.until_held(b"\xa8accepted")
    return Late(group, text, caller, first, first_node, group.node_of(occupant), occupant)


@pytest.mark.parametrize("form", [STREAM, WHOLE])
@pytest.mark.parametrize("phase", TABLE, ids=lambda phase: phase.__name__)
async def test_a_late_accepted_is_taken_or_cancelled(
    group: Group, phase: Callable[[Late], Awaitable[None]], form: str
) -> None:
    late = await _begin(group, form)
    await phase(late)
    late.first_node.proxy.up.release()
    if TABLE[phase] == FIRST:
        if phase is not woken:  # there it waits behind the wake-up
            await group.caller_proxy.down.until_passed(b"\xa8accepted")
        _release(late)
        taken = late.first
        taken.end()
    else:
        async with asyncio.timeout(GUARD_S):
            await late.first.gone.wait()  # cancelled: it was not told to end
        _release(late)
        assert late.second is not None
        taken = late.second
        taken.end()
    answer = await late.caller.answer()
    assert answer.error == ""
    assert answer.audio == taken.audio
    late.occupant.end()
    await group.until_settled()
    await group.serves()


def _release(late: Late) -> None:
    late.group.caller_proxy.down.release()
    late.other.proxy.down.release()
    late.other.proxy.up.release()
