"""A whole node over NATS, with the stand-in for Xunfei behind it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import av
import pytest

from antiphon.client import TtsClient
from antiphon.errors import InvalidRequest, TextTooLong, UnknownVoice
from antiphon.heartbeat import Voice
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei, fake_xunfei
from tests.synth_node.conftest import GUARD_S, idle, soon
from tests.synth_node.support_sound import loudness
from tests.synth_node.xunfei.support import MODES, VOICES, gated, recorded

Start = Callable[..., Any]
TEXT = "Long enough for some frames of audio, one after the other."
WAV_HEAD = 44


async def spoken(client: TtsClient, text: str = TEXT, **options: Any) -> bytes:
    return await client.speak(text, model="xunfei", timeout_s=GUARD_S, **options)


@pytest.mark.parametrize("mode", MODES)
async def test_mp3_of_the_service_is_passed_on_byte_for_byte(
    fake: FakeXunfei, start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    made = recorded(fake, monkeypatch)
    await start(fake, mode=mode, aue="lame")
    assert await spoken(client) == made[0].data
    rate = 16000 if mode == "online" else 24000
    assert await spoken(client, sample_rate=rate) == made[1].data
    other = await spoken(client, format="wav")
    assert len(other) > WAV_HEAD + 2 * 0.95 * made[2].seconds * rate, "other formats are decoded and encoded"


@pytest.mark.parametrize("mode", MODES)
async def test_samples_of_the_service_are_passed_on_or_encoded(
    fake: FakeXunfei, start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    made = recorded(fake, monkeypatch)
    await start(fake, mode=mode)
    fake.next(Scenario.ODD_PIECES)
    assert (await spoken(client, format="wav"))[WAV_HEAD:] == made[0].data
    assert seconds_of(await spoken(client)) == pytest.approx(made[1].seconds, abs=0.1)


def seconds_of(file: bytes) -> float:
    with av.open(io.BytesIO(file), "r") as container:
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))


async def test_several_segments_are_one_file(
    fake: FakeXunfei, start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = recorded(fake, monkeypatch)
    await start(fake, slots=3, aue="lame")
    text = "我们今天讨论语音合成。" * 60
    audio = await spoken(client, text)
    assert len(fake.orders) > 2
    assert all(order.manner.mp3 for order in fake.orders)
    assert sum(len(order.text) for order in fake.orders) == len(text)
    assert all(order.text in text and order.text.endswith("。") for order in fake.orders)
    assert seconds_of(audio) == pytest.approx(sum(each.seconds for each in made), abs=0.2 * len(made))


@pytest.mark.parametrize("mode", MODES)
async def test_voices_are_in_the_list_and_others_are_refused(
    fake: FakeXunfei, start: Start, client: TtsClient, mode: str
) -> None:
    await start(fake, mode=mode)
    listed = await client.voices("xunfei")
    assert listed[0].id == VOICES[mode]
    assert listed[0].language == "zh"
    assert len(listed) == 5
    await spoken(client, voice=listed[1].id)
    assert fake.orders[0].manner.voice == listed[1].id
    with pytest.raises(UnknownVoice, match="nobody"):
        await spoken(client, voice="nobody")
    assert len(fake.orders) == 1


async def test_faults_of_the_text_are_the_callers(fake: FakeXunfei, start: Start, client: TtsClient) -> None:
    await start(fake, tte="GB2312", voices="xiaoyan,x2_John=John/en")
    assert (await client.voices("xunfei"))[1] == Voice("x2_John", "John", "en")
    with pytest.raises(InvalidRequest, match=r"U\+20AC"):
        await spoken(client, "5 €")
    with pytest.raises(InvalidRequest, match="speeds"):
        await spoken(client, speed=4)
    with pytest.raises(UnknownVoice, match=r"'x2_John': .*XUNFEI_APP_ID.*11200"):
        await spoken(client, voice="x2_John")
    fake.next(Scenario.ERROR, code=10109)
    with pytest.raises(TextTooLong, match="10109"):
        await spoken(client)
    assert await spoken(client), "and the slot is there for others"


async def test_all_slots_speak_at_once_and_never_more(
    fake: FakeXunfei, start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = gated(fake, monkeypatch)
    await start(fake, slots=6)
    async with asyncio.TaskGroup() as tasks:
        callers = [tasks.create_task(spoken(client)) for _ in range(20)]
        await soon(lambda: len(fake.orders) == 6, "six speak")
        assert fake.open == 6
        go_on.set()
        heard = [await caller for caller in callers]
    assert fake.peak == 6
    assert len(set(heard)) == 1
    assert fake.errors_sent == []


async def test_occupancy_drops_when_the_service_takes_less_and_no_caller_fails(
    start: Start, client: TtsClient
) -> None:
    async with fake_xunfei(most_at_once=2, service_s=0.02) as fake:
        node = await start(fake, slots=8)
        assert idle(node) == 8
        async with asyncio.TaskGroup() as tasks:
            callers = [tasks.create_task(spoken(client)) for _ in range(30)]
            heard = [await caller for caller in callers]
        await soon(lambda: all(slot.state != "busy" for slot in node.slots), "all is done")
        assert idle(node) <= 2, "the others have left the group"
    assert len(set(heard)) == 1
    assert set(fake.errors_sent) == {11203}


async def test_a_caller_who_leaves_closes_the_connection(
    fake: FakeXunfei, start: Start, client: TtsClient
) -> None:
    node = await start(fake)
    fake.next(Scenario.HANG_LATER)
    async with aclosing(client.stream(TEXT, model="xunfei", format="wav")) as chunks:
        await anext(chunks)
        assert fake.open == 1
    await soon(lambda: fake.open == 0, "the connection is closed")
    await soon(lambda: fake.close_codes == [1000, 1000], "as it should be")
    await soon(lambda: idle(node) == 1, "the slot is free")


@pytest.mark.parametrize("scenario", [Scenario.EARLY_CLOSE, Scenario.ABORT, Scenario.ERROR_LATER])
async def test_a_connection_that_breaks_is_gone_on_from_by_another(
    fake: FakeXunfei, start: Start, client: TtsClient, scenario: Scenario
) -> None:
    await start(fake, slots=2)
    plain = await spoken(client, format="wav")
    fake.next(scenario, code=10019)
    assert await spoken(client, format="wav") == plain


async def test_a_real_voice_is_heard(
    start: Start, client: TtsClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mp3 that a caller gets is the sentence that the service spoke: as long, and loud where that is."""
    async with fake_xunfei(voice="espeak", close_delay_s=0.2) as fake:
        made = recorded(fake, monkeypatch)
        await start(fake)
        audio = await spoken(client, "你好，世界。今天天气很好。")
    with av.open(io.BytesIO(audio), "r", format="mp3") as container:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16000)
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    heard = memoryview(b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)).cast("h")
    said = memoryview(b"".join(each.data for each in made)).cast("h")
    assert 2 < len(said) / 16000 < 5
    assert len(heard) / 16000 == pytest.approx(len(said) / 16000, abs=0.15)
    assert loudness(heard) == pytest.approx(loudness(said), rel=0.2)
    assert best_match(envelope(heard), envelope(said)) > 0.9


def envelope(samples: memoryview) -> list[float]:
    """Return the loudness of each 20 ms at 16 kHz."""
    return [loudness(samples[i : i + 320]) for i in range(0, len(samples) - 320, 320)]


def best_match(heard: list[float], said: list[float]) -> float:
    """Return the correlation where the two fit best: an encoder puts a few milliseconds before them."""

    def correlation(shift: int) -> float:
        pairs = list(zip(heard[shift:], said, strict=False))
        n, mean_a, mean_b = len(pairs), sum(a for a, _ in pairs), sum(b for _, b in pairs)
        moved = [(a - mean_a / n, b - mean_b / n) for a, b in pairs]
        top = sum(a * b for a, b in moved)
        return float(top / (sum(a * a for a, _ in moved) * sum(b * b for _, b in moved)) ** 0.5)

    return max(correlation(shift) for shift in range(6))
