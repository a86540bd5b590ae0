"""How a limit falls when a server refuses, and who may be at work meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest

from antiphon.errors import Draining
from synth_node.network.throttle import Throttle
from tests.synth_node.conftest import GUARD_S, soon


def opened(most: int, *, hold_s: float = GUARD_S) -> Throttle:
    throttle = Throttle(most, hold_s=hold_s)
    throttle.open()
    return throttle


class Slots:
    """Slots that hold places until they are asked for them; a busy one keeps its place."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.busy: set[int] = set()

    async def join(self, *numbers: int) -> None:
        async with asyncio.timeout(GUARD_S):
            for number in numbers:
                await self.throttle.take_place(number, partial(self.leave, number))

    def leave(self, number: int) -> bool:
        if number in self.busy:
            return False
        self.throttle.give_back(number)
        return True

    def joined(self) -> list[int]:
        return [number for number in range(8) if self.throttle.holds_place(number)]


async def test_nothing_is_spoken_before_a_probe_has_succeeded() -> None:
    throttle = Throttle(2)
    assert throttle.pause_requested.is_set()
    with pytest.raises(Draining, match="probed"):
        async with throttle.turn():
            pass
    place = asyncio.create_task(throttle.take_place("slot", lambda: True))
    await asyncio.sleep(0)
    assert not throttle.holds_place("slot")
    throttle.open()
    await asyncio.wait_for(place, GUARD_S)
    assert throttle.holds_place("slot")
    assert throttle.limit == 2


async def test_a_newcomer_never_overtakes_one_that_was_woken() -> None:
    throttle, order = opened(1), []

    async def speak(name: str) -> None:
        async with throttle.turn():
            order.append(name)

    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks, throttle.turn():
        tasks.create_task(speak("waits"))
        await asyncio.sleep(0)
        # Scheduled before the turn ends, so it runs before the one that this wakes.
        tasks.create_task(speak("newcomer"))
    assert order == ["waits", "newcomer"]


async def test_no_more_are_at_work_than_the_limit_and_they_follow_in_order() -> None:
    throttle, at_work, order = opened(2), 0, []
    most = 0

    async def work(number: int) -> None:
        nonlocal at_work, most
        async with throttle.turn():
            at_work += 1
            most = max(most, at_work)
            order.append(number)
            await asyncio.sleep(0)
            at_work -= 1

    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(work(number))
    assert most == 2
    assert order == list(range(20))


async def test_who_is_woken_for_a_room_that_is_gone_keeps_its_place() -> None:
    throttle, order = opened(2), []

    async def speak(name: str) -> None:
        async with throttle.turn():
            order.append(name)

    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks, throttle.turn():
        async with throttle.turn():
            tasks.create_task(speak("first"))
            tasks.create_task(speak("second"))
            await asyncio.sleep(0)
        throttle.refused()
        await asyncio.sleep(0)
    assert order == ["first", "second"]
    throttle.close()


async def test_a_turn_may_last_longer_than_its_block() -> None:
    throttle, end = opened(1), asyncio.get_running_loop().create_future()
    async with throttle.turn():
        throttle.lasts_until(end)
    waiting = asyncio.create_task(throttle.turn().__aenter__())
    await asyncio.sleep(0)
    assert not waiting.done()
    end.set_result(None)
    await asyncio.wait_for(waiting, GUARD_S)


async def test_refusals_lower_the_limit_to_what_the_server_has_taken() -> None:
    throttle = opened(8)
    async with AsyncExitStack() as taken:
        for _ in range(3):
            await taken.enter_async_context(throttle.turn())
        async with AsyncExitStack() as refused:
            for _ in range(5):
                await refused.enter_async_context(throttle.turn())
            for _ in range(5):
                throttle.refused()
        assert throttle.limit == 7, "all eight were at work when the first of them was refused"
        async with throttle.turn():
            throttle.refused()
        assert throttle.limit == 3
        waiting = asyncio.create_task(throttle.turn().__aenter__())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, GUARD_S)
    throttle.close()


async def test_a_refusal_leaves_one_at_least() -> None:
    throttle = opened(1)
    async with throttle.turn():
        throttle.refused()
    assert throttle.limit == 1


async def test_idle_slots_leave_when_the_limit_falls_and_busy_ones_stay() -> None:
    throttle = opened(4)
    slots = Slots(throttle)
    await slots.join(0, 1, 2, 3)
    slots.busy = {0, 3}
    async with throttle.turn(), throttle.turn():
        throttle.refused()
    assert throttle.limit == 1
    assert slots.joined() == [0, 3]
    again = asyncio.create_task(slots.join(1))
    await asyncio.sleep(0)
    assert slots.joined() == [0, 3]
    throttle.give_back_excess(3)
    throttle.give_back_excess(0)
    await asyncio.sleep(0)
    assert slots.joined() == [0], "the last one stays: it is no excess"
    throttle.give_back(0)
    await asyncio.wait_for(again, GUARD_S)
    assert slots.joined() == [1]
    throttle.close()


async def test_the_limit_rises_again_by_and_by() -> None:
    throttle = opened(4, hold_s=0.01)
    async with throttle.turn(), throttle.turn():
        throttle.refused()
        throttle.refused()
    assert throttle.limit == 1
    await soon(lambda: throttle.limit == 4, "the limit rises")
    throttle.close()


async def test_the_limit_stays_for_as_long_as_the_server_wants() -> None:
    long, short = opened(4, hold_s=0.01), opened(4, hold_s=0.01)
    for throttle, for_s in ((long, GUARD_S), (short, 0.0)):
        async with throttle.turn():
            throttle.refused(for_s=for_s)
    await soon(lambda: short.limit == 4, "one has risen")
    assert long.limit == 1
    for throttle in (long, short):
        throttle.close()


async def test_a_pause_ends_what_waits_and_empties_the_slots() -> None:
    throttle = opened(1)
    slots = Slots(throttle)
    await slots.join(0)
    async with throttle.turn():
        waiting = asyncio.create_task(throttle.turn().__aenter__())
        await asyncio.sleep(0)
        throttle.pause("XUNFEI_API_KEY is unknown", for_s=7)
        with pytest.raises(Draining, match="XUNFEI_API_KEY is unknown"):
            await waiting
        throttle.refused()
        assert throttle.limit == 0, "what was refused late does not end the pause"
    assert slots.joined() == []
    assert throttle.pause_requested.is_set()
    assert throttle.pause_s == 7
    throttle.open()
    assert throttle.limit == 1
    async with throttle.turn():
        pass
    throttle.close()


async def test_a_pause_tells_how_long_it_lasts_still() -> None:
    throttle = opened(2)
    assert throttle.pause_left_s == 0.0
    throttle.pause("KEY is wrong", for_s=600.0)
    assert 600.0 - GUARD_S < throttle.pause_left_s <= 600.0
    throttle.stay_paused("no route", for_s=0.0)
    assert (throttle.paused_for, throttle.pause_left_s) == ("no route", 0.0)
    throttle.open()
    assert throttle.pause_left_s == 0.0
    throttle.close()


async def test_who_is_cancelled_leaves_its_turn_to_the_next() -> None:
    throttle = opened(1)
    turn = throttle.turn()
    await turn.__aenter__()
    first = asyncio.create_task(throttle.turn().__aenter__())
    second = asyncio.create_task(throttle.turn().__aenter__())
    await asyncio.sleep(0)
    await turn.__aexit__(None, None, None)  # wakes the first
    first.cancel()
    await asyncio.wait_for(second, GUARD_S)
    assert first.cancelled()
