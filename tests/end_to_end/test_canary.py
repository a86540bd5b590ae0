"""A new model that gets a part of the requests by NATS subject mappings, as docs/how-to/canary.md tells."""

from __future__ import annotations

import array
import asyncio
import re
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from antiphon.client import TtsClient, connect
from antiphon.request import SpeechRequest
from antiphon.subjects import Subjects
from tests.conftest import GUARD_S, ROOT, NatsServer, NodeProcess, node_process, until, until_ready
from tests.engines.telling import FIRST, LEVELS, SAMPLES_PER_CHARACTER

pytestmark = pytest.mark.asyncio(loop_scope="module")
TELLING: Final = f"{ROOT / 'tests' / 'engines' / 'telling.py'}:tts_api"
OLD: Final = "espeak"
NEW: Final = "espeak-next"
N_REQUESTS: Final = 400
LONG: Final = " ".join([FIRST, *(f"This is sentence number {n}, and it is not long." for n in range(12))])


@dataclass
class Canary:
    """A group whose server maps the subjects of the old model."""

    server: NatsServer
    config: Path
    client: TtsClient
    nodes: list[NodeProcess]
    stack: AsyncExitStack

    async def start(self, model: str) -> None:
        """Start a node."""
        node = node_process(
            *(self.server.url, Subjects()),
            engine=TELLING,
            model=model,
            slots=2,
            segment_characters=60,
            slot_env=f"MODEL={model}",
        )
        self.nodes.append(await self.stack.enter_async_context(node))

    async def kill(self, id: str) -> None:
        """Kill the node with this token."""
        (node,) = [node for node in self.nodes if id.startswith(node.name)]
        node.send_signal(signal.SIGKILL)
        await node.wait()
        self.nodes.remove(node)

    async def weigh(self, old: int, new: int) -> None:
        """Give each model so many per cent of the requests from now on."""
        self.config.write_text(documented().replace("90%", f"{old}%").replace("10%", f"{new}%"))
        await asyncio.to_thread(self.server.reload)


def documented() -> str:
    """Return the configuration as the page has it."""
    page = (ROOT / "docs" / "how-to" / "canary.md").read_text()
    (text,) = re.findall(r"```text\n(include.*?)```", page, re.S)
    return str(text)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def canary(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Canary]:
    """Two nodes of each model, with two slots each."""
    directory = tmp_path_factory.mktemp("canary")
    shutil.copy(ROOT / "nats" / "nats-server.conf", directory)
    config = directory / "canary.conf"
    config.write_text(documented())
    server = NatsServer(directory, config)
    server.start()
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        client = await stack.enter_async_context(connect(server.url, default_model=OLD))
        made = Canary(server, config, client, [], stack)
        for model in (OLD, OLD, NEW, NEW):
            await made.start(model)
        await until_ready(client, 4)
        yield made


async def spoken(client: TtsClient, text: str, seconds_per_character: float = 0.0) -> tuple[str, bytes]:
    """Return who spoke, by what it says and by the audio alike, and the audio."""
    request = SpeechRequest(text, voice=str(seconds_per_character), format="pcm")
    async with client.utterance(request, timeout_s=GUARD_S, hold_bytes=2**20, model=OLD) as utterance:
        audio = b"".join([chunk async for chunk in utterance])
    assert heard(audio) == {utterance.model}
    return utterance.model, audio


def heard(audio: bytes) -> set[str]:
    """Return whose voices are in the audio."""
    levels = {level: model for model, level in LEVELS.items()}
    return {levels[sample] for sample in set(array.array("h", audio)) if sample}


async def test_a_tenth_is_spoken_by_the_new_model(canary: Canary) -> None:
    await canary.weigh(90, 10)
    turns = asyncio.Semaphore(2)

    async def speak(number: int) -> str:
        async with turns:
            return (await spoken(canary.client, f"text {number}"))[0]

    by = Counter(await asyncio.gather(*(speak(number) for number in range(N_REQUESTS))))
    assert by.total() == N_REQUESTS
    assert 10 < by[NEW] < 75, by  # of 40 expected: five standard deviations away


async def test_none_is_lost_while_all_slots_are_busy(canary: Canary) -> None:
    await canary.weigh(90, 10)
    tasks = [asyncio.create_task(spoken(canary.client, f"text {n}", 0.001)) for n in range(N_REQUESTS)]
    await until(lambda: canary.client.waiting() > N_REQUESTS // 2, "most of them wait")
    by = Counter(model for model, _ in await asyncio.gather(*tasks))
    assert by.total() == N_REQUESTS
    assert by.keys() == {OLD, NEW}


async def test_the_weights_change_without_a_restart(canary: Canary) -> None:
    for old, new, speaks in ((0, 100, NEW), (100, 0, OLD)):
        await canary.weigh(old, new)
        tasks = [asyncio.create_task(spoken(canary.client, f"text {n}", 0.001)) for n in range(40)]
        assert {model for model, _ in await asyncio.gather(*tasks)} == {speaks}


async def test_the_new_model_is_there_for_who_names_it(canary: Canary) -> None:
    await canary.weigh(90, 10)
    request = SpeechRequest("text", voice="0.0", format="pcm")
    for _ in range(20):
        async with canary.client.utterance(request, model=NEW, timeout_s=GUARD_S) as utterance:
            assert heard(b"".join([chunk async for chunk in utterance])) == {NEW}
        assert utterance.model == NEW


async def test_a_long_text_is_in_one_voice(canary: Canary) -> None:
    await canary.weigh(50, 50)
    for _ in range(4):
        _, audio = await spoken(canary.client, LONG, 0.001)  # asserts that there is one
        assert len(audio) > len(LONG) * SAMPLES_PER_CHARACTER


@pytest.mark.parametrize(("model", "before", "after"), [(OLD, (100, 0), (50, 50)), (NEW, (0, 100), (100, 0))])
async def test_whoever_began_goes_on(
    canary: Canary, tmp_path: Path, model: str, before: tuple[int, int], after: tuple[int, int]
) -> None:
    await canary.weigh(*before)
    request = SpeechRequest(LONG, voice=str(tmp_path / "go"), format="pcm")
    async with canary.client.utterance(request, model=OLD, timeout_s=GUARD_S) as utterance:
        chunks = aiter(utterance)
        audio = await anext(chunks)
        first = utterance.node
        await canary.weigh(*after)
        await canary.kill(first)
        (tmp_path / "go").touch()
        async for chunk in chunks:
            audio += chunk
    assert heard(audio) == {model}
    assert utterance.model == model
    assert utterance.node != first
    await canary.start(model)
    await until_ready(canary.client, 4)
