"""Tasks that end with their owner."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.background import background


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_runs_at_the_end_is_cancelled() -> None:
    async with background() as spawn:
        task = spawn(forever(), "for ever")
        assert task.get_name() == "for ever"
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_what_is_over_is_forgotten() -> None:
    async with background() as spawn:
        task = spawn(asyncio.sleep(0), "short")
        await task
    assert task.done()
    assert not task.cancelled()


async def test_a_task_that_fails_ends_its_owner() -> None:
    async def fail() -> None:
        raise KeyError("of a task")

    others: list[asyncio.Task[None]] = []

    async def own() -> None:
        async with background() as spawn:
            others.append(spawn(forever(), "other"))
            spawn(fail(), "fails")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as failed:
        await own()
    assert failed.group_contains(KeyError, match="of a task")
    assert others[0].cancelled()


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def own() -> None:
        async with background() as spawn:
            tasks.append(spawn(forever(), "for ever"))
            await asyncio.sleep(0)
            raise KeyError("of the block")

    with pytest.raises(KeyError, match="of the block"):
        await own()
    assert tasks[0].cancelled()


async def test_a_cancelled_owner_is_cancelled() -> None:
    started = asyncio.Event()

    async def own() -> None:
        async with background() as spawn:
            spawn(forever(), "for ever")
            started.set()
            await asyncio.Event().wait()

    owner = asyncio.create_task(own())
    await started.wait()
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
