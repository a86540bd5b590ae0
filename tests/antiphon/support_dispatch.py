"""What tests of claims and of the FIFO have in common."""

from __future__ import annotations

import asyncio

from antiphon.client import TtsClient
from antiphon.run import Timing
from tests.antiphon.conftest import dispatcher_of
from tests.antiphon.scripted_node import GUARD_S, soon

HASTY = Timing(accept_min_s=0.05, accept_max_s=0.05, retry_s=0.2, settle_s=0.2)


async def within_guard(task: asyncio.Task[bytes]) -> bytes:
    return await asyncio.wait_for(task, GUARD_S)


async def no_tokens_left(tts: TtsClient) -> None:
    await soon(lambda: len(dispatcher_of(tts).inboxes) == 0, "no inbox token is left")
