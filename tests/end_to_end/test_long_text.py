"""A long text over real nodes: exact, in order, by many slots at once, whoever dies on the way."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Final

import pytest

from antiphon.client import TtsClient
from antiphon.errors import AttemptsExhausted, EngineFailed
from antiphon.events import Segment
from antiphon.request import SpeechRequest
from antiphon.utterance import Utterance
from tests.conftest import GUARD_S, NodeProcess, StartNode, until, until_ready
from tests.engines.spelling import N_SAMPLES, SAMPLE_RATE, spelled

SPELLING: Final = f"{Path(__file__).parent.parent / 'engines' / 'spelling.py'}:tts_api"
TEXT: Final = " ".join(f"This is sentence number {n}, and it is not long." for n in range(40))


def said(text: str) -> str:
    """Return a text without what may be lost between segments."""
    return "".join(text.split())


async def nodes_of(start_node: StartNode, client: TtsClient, n: int, **settings: object) -> list[NodeProcess]:
    nodes = [await start_node(engine=SPELLING, segment_characters=60, **settings) for _ in range(n)]
    await until_ready(client, n)
    return nodes


def asked(text: str = TEXT, *, seconds_per_character: float = 0.0) -> SpeechRequest:
    return SpeechRequest(text, voice=str(seconds_per_character), format="pcm")


async def test_every_segment_is_said_once_and_in_order(start_node: StartNode, client: TtsClient) -> None:
    await nodes_of(start_node, client, 1)
    segments, audio = [], b""
    async with client.utterance(asked()) as utterance:
        async for event in utterance.events():
            if isinstance(event, bytes):
                audio += event
            elif isinstance(event, Segment):
                segments.append(event)
    assert said(spelled(audio)) == said(TEXT)
    assert [s.index for s in segments] == list(range(segments[0].n_segments))
    assert [TEXT[s.offset : s.offset + s.length] for s in segments if s.index == 0] == [
        "This is sentence number 0, and it is not long."
    ]
    assert len(audio) == 2 * N_SAMPLES * sum(s.length for s in segments)
    assert utterance.end is not None
    assert utterance.end.audio_ms == 1000 * len(audio) // 2 // SAMPLE_RATE


async def test_a_pause_is_exact_to_the_sample(start_node: StartNode, client: TtsClient) -> None:
    await nodes_of(start_node, client, 1)
    audio = b""
    async with client.utterance(asked("one[pause 125ms]two [pause 1.5s] three")) as utterance:
        async for chunk in utterance:
            audio += chunk
    n_pause = round(0.125 * SAMPLE_RATE), round(1.5 * SAMPLE_RATE)
    one, two = 2 * N_SAMPLES * 3, 2 * N_SAMPLES * 5
    assert spelled(audio[:one]) == "one"
    assert audio[one : one + 2 * n_pause[0]] == bytes(2 * n_pause[0])
    assert said(spelled(audio[-two:])) == "three"
    assert len(audio) == 2 * (N_SAMPLES * 11 + sum(n_pause))


async def test_idle_slots_help(start_node: StartNode, client: TtsClient) -> None:
    nodes = await nodes_of(start_node, client, 4)
    busy: set[str] = set()
    audio = b""
    async with client.utterance(asked(seconds_per_character=0.002)) as utterance:
        async for chunk in utterance:
            audio += chunk
            now = asyncio.get_running_loop().time()
            busy |= {s.heartbeat.name for s in client.cluster.nodes(now) if s.heartbeat.busy}
    assert said(spelled(audio)) == said(TEXT)
    assert busy == {node.name for node in nodes}


async def test_nobody_is_asked_while_callers_wait(start_node: StartNode, client: TtsClient) -> None:
    await nodes_of(start_node, client, 2)
    # Two long texts have both slots, and a third caller waits: when one is done, the slot is the caller's.
    order: list[str] = []

    async def speak(name: str, text: str) -> None:
        async with client.utterance(asked(text, seconds_per_character=0.001)) as utterance:
            order.append(name)
            assert said(spelled(b"".join([chunk async for chunk in utterance]))) == said(text)

    async with asyncio.timeout(GUARD_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(speak("long", TEXT * 2))
        tasks.create_task(speak("short", TEXT[:200]))
        await until(lambda: len(order) == 2, "both are being spoken")
        tasks.create_task(speak("third", "At last."))
    assert order[2] == "third"


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
async def test_a_helper_that_goes_costs_only_its_segment(
    start_node: StartNode, client: TtsClient, signum: signal.Signals
) -> None:
    nodes = await nodes_of(start_node, client, 3)
    audio = b""
    async with client.utterance(asked(seconds_per_character=0.002)) as utterance:
        helpers = [node for node in nodes if not utterance.node.startswith(node.name)]

        async for chunk in utterance:
            audio += chunk
            if helpers and len(audio) > 2 * N_SAMPLES * 300:
                for helper in helpers:
                    helper.send_signal(signum)
                helpers = []
    assert said(spelled(audio)) == said(TEXT)


async def kill_the_node_in_charge(utterance: Utterance, nodes: list[NodeProcess], signum: int) -> str:
    """Kill the node that speaks; return its name."""
    (node,) = [node for node in nodes if utterance.node.startswith(node.name)]
    node.send_signal(signum)
    return node.name


@pytest.mark.parametrize("after_characters", [1, 100, 700])
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_node_goes_on_where_the_listener_is(
    start_node: StartNode, client: TtsClient, signum: signal.Signals, after_characters: int
) -> None:
    nodes = await nodes_of(start_node, client, 2)
    audio, killed = b"", ""
    async with client.utterance(asked(seconds_per_character=0.001)) as utterance:
        async for chunk in utterance:
            audio += chunk
            if not killed and len(audio) >= 2 * N_SAMPLES * after_characters:
                killed = await kill_the_node_in_charge(utterance, nodes, signum)
        assert killed
        assert not utterance.node.startswith(killed)
    assert said(spelled(audio)) == said(TEXT), "nothing is missing, nothing is said twice"
    assert utterance.end is not None
    assert utterance.end.audio_ms == pytest.approx(1000 * len(audio) / 2 / SAMPLE_RATE, abs=5)


CRASHING = """
import os, time

def tts_api(text):
    with open(__file__ + ".begun", "a") as log:
        log.write(text[:4] + "\\n")
    for _ in range(10):
        time.sleep(0.02)
        yield bytes(1600)
    if text.startswith("KILL"):
        os._exit(3)
    if text.startswith("FAIL"):
        raise ValueError("no such word")
tts_api.sample_rate = 16000
"""


@pytest.fixture
def crashing(tmp_path: Path) -> Path:
    """Return the file of an engine that dies of some texts."""
    file = tmp_path / "crashing.py"
    file.write_text(CRASHING)
    return file


async def listen(utterance: Utterance) -> None:
    """Take all of the audio, and leave it."""
    async with asyncio.timeout(GUARD_S):
        async for _ in utterance:
            pass


async def test_a_segment_that_kills_engines_is_not_handed_round(
    start_node: StartNode, client: TtsClient, crashing: Path
) -> None:
    for _ in range(4):
        await start_node(engine=f"{crashing}:tts_api", segment_characters=40)
    await until_ready(client, 4)
    good = "This is a sentence that can be spoken. "
    request = SpeechRequest(3 * good + "KILL is said here and no more. " + good)
    async with client.utterance(request) as utterance:
        with pytest.raises(AttemptsExhausted):
            await listen(utterance)
    begun = await asyncio.to_thread(Path(f"{crashing}.begun").read_text)
    assert begun.count("KILL") <= 6, "a helper and the engine, three times"


async def test_a_helper_is_lost_after_a_segment_ahead_has_failed(
    start_node: StartNode, client: TtsClient, crashing: Path
) -> None:
    nodes = [await start_node(engine=f"{crashing}:tts_api", segment_characters=40) for _ in range(2)]
    await until_ready(client, 2)
    begun = Path(f"{crashing}.begun")
    text = "One sentence is here and it is said. TWO sentences are here and are said. "
    async with client.utterance(SpeechRequest(text + "FAIL is the third and cannot be said.")) as utterance:
        (helper,) = [node for node in nodes if not utterance.node.startswith(node.name)]
        await until(lambda: "FAIL" in begun.read_text(), "the segment that fails is begun")
        helper.send_signal(signal.SIGKILL)
        with pytest.raises(EngineFailed):
            await listen(utterance)
