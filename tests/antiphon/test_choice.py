"""Which model speaks: named, default, owner of the voice, the only one, or an error that lists them."""

from __future__ import annotations

import asyncio

import pytest

from antiphon.errors import AmbiguousModel, InvalidRequest, NoNodes
from antiphon.heartbeat import VoiceList
from antiphon.run import Timing
from tests.antiphon.conftest import StartClient, StartModel, dispatcher_of
from tests.antiphon.scripted_node import GUARD_S, MODEL, soon

QUICK = Timing(settle_s=0.2, status_s=0.05)


async def chosen(resolving: asyncio.Task[str]) -> str:
    return await asyncio.wait_for(resolving, GUARD_S)


@pytest.mark.parametrize(
    ("default", "voice", "model"),
    [
        (None, "anna", "a"),
        (None, "bob", "b"),
        (None, "chief", "b"),  # an alias of the engine
        ("a", None, "a"),
        ("a", "anna", "a"),
        ("a", "bob", "b"),
        ("a", "both", "a"),
        ("b", "both", "b"),
        ("a", "nobody", "a"),  # which then says that it has no such voice
        ("any", "anna", "any"),  # it lists none, so it takes any
        ("any", "nobody", "any"),
    ],
)
async def test_the_voice_tells_the_model_where_it_can(
    caller: StartClient, start_model: StartModel, default: str | None, voice: str | None, model: str
) -> None:
    tts = await caller(timing=QUICK, default_model=default)
    await start_model(tts, "a", "anna", "both")
    other = await start_model(tts, "b", "bob", "both")
    other.aliases = {"chief": "bob"}
    await start_model(tts, "any")
    assert await tts.resolve(None, voice) == model
    assert await tts.resolve("named", voice) == "named", "who names one gets that one"


@pytest.mark.parametrize(
    ("default", "voice", "listed"),
    [
        (None, None, "there are a, any and b"),
        (None, "nobody", "there are a, any and b"),
        (None, "both", "a and b have a voice 'both'"),
        ("any2", "both", "a and b have a voice 'both'"),  # the default one is not alive
    ],
)
async def test_several_that_could_be_meant_are_listed(
    caller: StartClient, start_model: StartModel, default: str | None, voice: str | None, listed: str
) -> None:
    tts = await caller(timing=QUICK, default_model=default)
    for name, *voices in (("a", "anna", "both"), ("b", "bob", "both"), ("any",)):
        await start_model(tts, name, *voices)
    with pytest.raises(AmbiguousModel, match=listed) as refused:
        await tts.resolve(None, voice)
    assert (refused.value.param, refused.value.number, refused.value.retryable) == ("model", 400, False)


async def test_the_only_model_is_asked_for_no_voices(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    only = await start_model(tts, "a", "anna")
    assert await tts.resolve(None, "bob") == "a"
    assert only.n_asked == 0


@pytest.mark.parametrize("default", ["a.b", "", "ä"])
async def test_a_default_that_is_no_token_is_refused(caller: StartClient, default: str) -> None:
    tts = await caller(default_model=default)
    with pytest.raises(InvalidRequest):
        await tts.resolve(None)


async def test_other_names_of_a_voice_may_be_told_by_the_caller(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK)
    await start_model(tts, "a", "anna")
    await start_model(tts, "b", "bob")

    def has(model: str, listed: VoiceList) -> bool:
        return model == "a" and listed.find("anna") is not None

    assert await tts.resolve(None, "bob", has=has) == "a"


async def test_a_model_whose_last_node_left_is_none(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    await start_model(tts, "a", "anna")
    leaving = await start_model(tts, "b", "bob")
    with pytest.raises(AmbiguousModel):
        await tts.resolve(None)
    assert await tts.resolve(None, "bob") == "b"
    await leaving.beat_left(tts)
    assert await tts.resolve(None) == "a"
    await soon(lambda: dispatcher_of(tts).knows_all, "it is certain")
    with pytest.raises(NoNodes, match=r"no node of model b is alive \(alive: a\)"):
        await tts.speak("hello", model="b", timeout_s=GUARD_S)


async def test_a_default_whose_nodes_left_keeps_its_voices(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK, default_model="b")
    await start_model(tts, "a", "anna", "both")
    leaving = await start_model(tts, "b", "bob", "both")
    assert await tts.resolve(None, "both") == "b"
    await leaving.beat_left(tts)
    assert await tts.resolve(None, "both") == "b", "another model would speak with another voice"
    assert await tts.resolve(None, "anna") == "a"


async def test_a_model_that_appears_later_is_chosen_at_once(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK, default_model="a")
    await start_model(tts, "a", "anna")
    assert await tts.resolve(None, "bob") == "a"
    await start_model(tts, "b", "bob")
    assert await tts.resolve(None, "bob") == "b"
    assert await tts.resolve(None) == "a"


async def test_a_default_that_is_ready_waits_for_no_model_that_is_starting(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK, default_model="a")
    await start_model(tts, "a", "anna")
    await start_model(tts, "c", "cleo")
    late = await start_model(tts, "b", "bob", tells=False, state="starting", voices_hash="", idle=0)

    async def who_has(voice: str | None) -> str:
        return await asyncio.wait_for(tts.resolve(None, voice, within_s=10 * GUARD_S), GUARD_S)

    assert [await who_has(voice) for voice in (None, "anna", "cleo")] == ["a", "a", "c"]
    assert await who_has("bob") == "a", "it may never start; what is nobody's is the default one's to refuse"
    await late.tell()
    await late.beat(tts)
    assert await who_has("bob") == "b"


async def test_without_a_default_a_voice_that_nobody_has_waits_for_a_model_that_is_starting(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK)
    await start_model(tts, "a", "anna")
    late = await start_model(tts, "b", "bob", tells=False, state="starting", voices_hash="", idle=0)
    assert await tts.resolve(None, "anna") == "a", "it holds up nobody else"
    resolving = asyncio.create_task(tts.resolve(None, "bob"))
    with pytest.raises(NoNodes, match="'bob' may be a voice of b, whose voices are not known yet"):
        await tts.resolve(None, "bob", within_s=0.05)
    assert not resolving.done()
    await late.tell()
    await late.beat(tts)
    assert await chosen(resolving) == "b"


async def test_a_default_that_is_starting_is_waited_for(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK, default_model="b")
    await start_model(tts, "a", "both")
    late = await start_model(tts, "b", "both", tells=False, state="starting", voices_hash="", idle=0)
    resolving = asyncio.create_task(tts.resolve(None, "both"))
    with pytest.raises(NoNodes):
        await tts.resolve(None, "both", within_s=0.05)
    await late.tell()
    await late.beat(tts)
    assert await chosen(resolving) == "b"


async def test_a_default_that_has_the_voice_waits_for_nobody(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK, default_model="a")
    await start_model(tts, "a", "anna")
    frozen = await start_model(tts, "b", tells=False)
    asked = await frozen.node.nc.subscribe(dispatcher_of(tts).subjects.voices("b"), queue="voices")
    await frozen.node.nc.flush()
    assert await tts.resolve(None, "anna") == "a"
    await tts.connection.nc.flush()
    await frozen.node.nc.flush()
    assert asked.pending_msgs == 0


# -- cold start


async def test_a_client_that_has_just_come_hears_all_before_it_takes_the_only_one(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=Timing(settle_s=60.0, status_s=60.0))
    await start_model(tts, "a", "anna")
    resolving = asyncio.create_task(tts.resolve(None))
    of_voice = asyncio.create_task(tts.resolve(None, "bob"))
    await asyncio.wait({resolving, of_voice}, timeout=0.05)
    await start_model(tts, "b", "bob")
    with pytest.raises(AmbiguousModel, match="there are a and b"):
        await chosen(resolving)
    assert not of_voice.done(), "there may be a third one that has the voice"
    dispatcher_of(tts).settled.set()
    assert await chosen(of_voice) == "b"


async def test_a_default_needs_nobody_else(caller: StartClient) -> None:
    tts = await caller(timing=Timing(settle_s=60.0, status_s=60.0), default_model="a")
    assert await asyncio.wait_for(tts.resolve(None), GUARD_S) == "a"


# -- speaking


async def test_what_is_spoken_goes_to_the_owner_of_the_voice(
    caller: StartClient, start_model: StartModel
) -> None:
    tts = await caller(timing=QUICK)
    await start_model(tts, "a", "anna")
    owner = await start_model(tts, MODEL, "bob")
    await owner.node.arm()
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(tts.speak("hello", voice="bob"))
        assert await owner.node.answer() == "hello"
    assert speaking.result() == b"hello"
    with pytest.raises(AmbiguousModel):
        await tts.speak("hello")


async def test_a_forecast_is_of_the_only_model(caller: StartClient, start_model: StartModel) -> None:
    tts = await caller(timing=QUICK)
    await start_model(tts, "a", seconds_per_character=0.1)
    assert tts.forecast() == 0.0
    await start_model(tts, "b", seconds_per_character=0.1)
    assert tts.forecast() is None
    assert tts.forecast("b") == 0.0
