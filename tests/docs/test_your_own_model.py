"""The examples of docs/how-to/your-own-model.md: each one speaks, and the page shows what is in the files."""

from __future__ import annotations

import asyncio
import io
import re
import sys
import venv
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
import pytest
from structlog.testing import capture_logs

from antiphon.background import background
from antiphon.errors import InvalidRequest, UnknownVoice
from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from synth_node.process.batch_host import BatchEngine, BatchHost
from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from synth_node.slot_env import env_of_slot
from synth_node.synthesizer import EncodedAudio, Synthesizer

ROOT: Final = Path(__file__).parents[2]
EXAMPLES: Final = ROOT / "examples" / "engines"
PAGE: Final = ROOT / "docs" / "how-to" / "your-own-model.md"
GUARD_S: Final = 20.0
TEXT: Final = "hum for me"


@asynccontextmanager
async def example(name: str, **options: Any) -> AsyncIterator[Synthesizer]:
    """Run an example in an engine process of its own; name: <file>.py:<attribute>."""
    engine_options = EngineOptions(**options)
    async with Synthesizer(EngineHost(str(EXAMPLES / name), slot=0, options=engine_options)) as synthesizer:
        yield synthesizer


async def spoken(synthesizer: Synthesizer, **options: Any) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Return the samples that a decoder finds in the mp3 of TEXT, at 24 kHz."""
    async with asyncio.timeout(GUARD_S):
        pieces = [piece async for piece in synthesizer.speak(SpeechRequest(TEXT, **options))]
    audio = b"".join(piece.data for piece in pieces if isinstance(piece, EncodedAudio))
    resampler = av.AudioResampler("s16", "mono", 24_000)
    with av.open(io.BytesIO(audio), "r") as container:
        assert container.format.name == "mp3"
        frames = [each for frame in container.decode(audio=0) for each in resampler.resample(frame)]
    samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert np.abs(samples).max() > 3000, "it is heard"
    return samples


def pitch_of_first_note(samples: np.ndarray[Any, np.dtype[np.int16]]) -> float:
    """Return the strongest frequency within the first 100 ms, in Hz."""
    part = samples[:2400].astype(float) * np.hanning(2400)
    return float(np.abs(np.fft.rfft(part, 24_000)).argmax())


def note(pitch: float) -> float:
    """Return the frequency of the first letter."""
    return pitch * 2 ** (ord(TEXT[0]) % 24 / 12)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("function.py:tts_api", len(TEXT) * 2000 / 16_000),
        ("streaming.py:tts_api", len(TEXT) * 0.12),
        ("loaded_once.py:Hummer", len(TEXT) * 0.1),
        ("configured.py:Configured", len(TEXT) * 0.12),
        ("batched.py:Batched", len(TEXT) * 0.1),
    ],
)
async def test_an_example_speaks(name: str, seconds: float) -> None:
    async with example(name, warm_up="Hello.") as synthesizer:
        assert len(await spoken(synthesizer)) / 24_000 == pytest.approx(seconds, abs=0.1)


async def test_the_streaming_function_has_voices_and_speeds() -> None:
    async with example("streaming.py:tts_api") as synthesizer:
        assert pitch_of_first_note(await spoken(synthesizer, voice="low")) == pytest.approx(
            note(110), rel=0.05
        )
        assert pitch_of_first_note(await spoken(synthesizer, voice="high")) == pytest.approx(
            note(220), rel=0.05
        )
        assert len(await spoken(synthesizer, speed=2.0)) / 24_000 == pytest.approx(len(TEXT) * 0.06, abs=0.1)
        with pytest.raises(UnknownVoice):
            await spoken(synthesizer, voice="loud")


async def test_the_class_loads_once_and_says_so_in_the_log() -> None:
    with capture_logs() as logs:
        async with example("loaded_once.py:Hummer") as synthesizer:
            assert [voice.id for voice in synthesizer.info.voices] == ["low", "high"]
            for _ in range(2):
                assert pitch_of_first_note(await spoken(synthesizer)) == pytest.approx(note(110), rel=0.05)
            with pytest.raises(InvalidRequest, match="one speed only") as refused:
                await spoken(synthesizer, speed=2.0)
            assert refused.value.param == "speed"
    assert [entry["line"] for entry in logs if entry["event"] == "engine output"] == ["loading"]


async def test_the_batched_class_speaks_for_several_slots_at_once() -> None:
    engine = BatchEngine(str(EXAMPLES / "batched.py:Batched"), number=0, options=EngineOptions(), wait_s=60)
    async with asyncio.timeout(GUARD_S), background() as spawn, AsyncExitStack() as stack:
        spawn(engine.run(), "engine process")
        low, high, hurried = [
            await stack.enter_async_context(Synthesizer(BatchHost(engine), slot=n)) for n in range(3)
        ]
        works = [spoken(low), spoken(high, voice="high"), spoken(hurried, speed=2.0)]
        samples, higher, refused = await asyncio.gather(*works, return_exceptions=True)
    assert isinstance(samples, np.ndarray)
    assert isinstance(higher, np.ndarray)
    assert pitch_of_first_note(samples) == pytest.approx(note(110), rel=0.05)
    assert pitch_of_first_note(higher) == pytest.approx(note(220), rel=0.05)
    assert isinstance(refused, InvalidRequest)
    assert refused.param == "speed"


async def test_the_configured_class_takes_its_variables() -> None:
    env = {"HUM_PITCH": "330", "HUM_NOTE_MS": "200"}
    async with example("configured.py:Configured", env=env) as synthesizer:
        samples = await spoken(synthesizer)
        assert len(samples) / 24_000 == pytest.approx(len(TEXT) * 0.2, abs=0.1)
        assert pitch_of_first_note(samples) == pytest.approx(note(330), rel=0.05)


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [("HUM_PICH", "1", "HUM_PICH is no setting"), ("HUM_PITCH", "high", "HUM_PITCH cannot be 'high'")],
)
async def test_the_configured_class_names_a_variable_at_fault(name: str, value: str, match: str) -> None:
    with pytest.raises(EngineUnavailable, match=match):
        async with example("configured.py:Configured", env={name: value}):
            pass


async def test_each_slot_is_on_its_gpu() -> None:
    (slot_env,) = re.findall(r"SYNTH_SLOT_ENV='?(CUDA_VISIBLE_DEVICES=0\|1)'? ", PAGE.read_text())
    for slot, pitch in enumerate((110, 220, 110)):
        async with example("gpu.py:OnGpu", env=env_of_slot(slot_env, slot)) as synthesizer:
            assert pitch_of_first_note(await spoken(synthesizer)) == pytest.approx(note(pitch), rel=0.05)


async def test_a_model_runs_in_an_environment_of_its_own(tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    packages = Path(np.__file__).parents[1]
    theirs = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    for found in packages.glob("numpy*"):
        (theirs / found.name).symlink_to(found)  # instead of `pip install numpy`
    python = str(tmp_path / "venv" / "bin" / "python")
    assert python != sys.executable
    async with example("own_python.py:tts_api", python=python) as synthesizer:
        samples = await spoken(synthesizer)
        assert len(samples) / 24_000 == pytest.approx(len(TEXT) * 0.1, abs=0.1)
        assert pitch_of_first_note(samples) == pytest.approx(note(110), rel=0.05)


def test_the_page_shows_what_is_in_the_files() -> None:
    page = PAGE.read_text()
    files = sorted(EXAMPLES.glob("*.py"))
    assert len(files) >= 6
    for file in files:
        source = file.read_text().partition('"""\n\n')[2]
        assert f"```python\n{source}```" in page, f"{file.name} and the page differ"
        assert f"examples/engines/{file.name}" in page


async def test_the_model_to_copy_into_an_image_refuses_a_voice_that_it_has_not() -> None:
    engine = f"{ROOT / 'examples' / 'own-model' / 'model.py'}:tts_api"
    async with Synthesizer(EngineHost(engine, slot=0, options=EngineOptions())) as synthesizer:
        assert [voice.id for voice in synthesizer.info.voices] == ["low", "high"]
        assert len(await spoken(synthesizer, voice="high"))
        with pytest.raises(UnknownVoice):
            await spoken(synthesizer, voice="middle")
