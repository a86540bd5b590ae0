"""The engine `piper`: the package as it is, with voices that the test makes."""

from __future__ import annotations

import asyncio
import json
import sysconfig
import venv
from array import array
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from antiphon.client import TtsClient
from antiphon.errors import NothingToSpeak, UnknownVoice
from antiphon.request import SpeechRequest
from antiphon.subjects import Subjects
from synth_node.engines.piper import Engine
from synth_node.host import EngineUnavailable
from synth_node.synthesizer import EncodedAudio, Synthesizer
from tests.conftest import StartNode, node_environment, until_ready
from tests.synth_node.conftest import GUARD_S
from tests.synth_node.process.support_engine import synthesizer_of
from tests.synth_node.support_piper import RATE, make_voice, pitch
from tests.synth_node.support_sound import ffmpeg_decoded, loudness
from tests.synth_node.test_main import ended, last_sentence

SPEAKERS = {"anna": 0, "ben": 1, "cleo": 2}


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice without speakers."""
    return make_voice(tmp_path_factory.mktemp("piper") / "en_US-tone-low.onnx")


@pytest.fixture(scope="session")
def choir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A voice with three speakers, of whom the second is the default."""
    return make_voice(tmp_path_factory.mktemp("piper") / "choir.onnx", SPEAKERS, default_speaker_id=1)


def piper(voice: Path, *, python: str | None = None, **settings: Any) -> Synthesizer:
    return synthesizer_of("piper", settings={"voice": str(voice), **settings}, python=python)


async def samples(synthesizer: Synthesizer, text: str = "hello there", **options: Any) -> array[int]:
    """Return what is spoken, at the engine's own rate."""
    data = b""
    async with asyncio.timeout(GUARD_S):
        async for piece in synthesizer.speak(SpeechRequest(text, format="pcm", **options)):
            if isinstance(piece, EncodedAudio):
                data += piece.data
    return array("h", data)


async def test_a_voice_speaks_at_its_rate_and_at_any_speed(voice: Path) -> None:
    async with piper(voice) as synthesizer:
        info = synthesizer.info
        assert (info.name, info.sample_rate) == ("piper", RATE)
        assert [(v.id, v.name, v.language) for v in info.voices] == [("en_US-tone-low",) * 2 + ("en-US",)]
        normal = await samples(synthesizer)
        assert pitch(normal) == pytest.approx(300, rel=0.02)
        assert max(normal) > 30_000
        assert len(await samples(synthesizer, voice="en_US-tone-low")) == len(normal)
        for speed in (0.5, 2.0):
            spoken = await samples(synthesizer, speed=speed)
            assert len(spoken) == pytest.approx(len(normal) / speed, rel=0.01)
            assert pitch(spoken) == pytest.approx(300, rel=0.02)
        assert len(await samples(synthesizer, "hello there, and somewhat longer")) > 2 * len(normal)


async def test_the_length_follows_the_sounds_that_espeak_finds(voice: Path) -> None:
    from piper import PiperVoice

    loaded = PiperVoice.load(voice)
    (phonemes,) = loaded.phonemize("hello there")
    async with piper(voice) as synthesizer:
        n_ids = len(loaded.phonemes_to_ids(phonemes))
        assert len(await samples(synthesizer)) == n_ids * 256 * 2, "the voice's own length scale is 2"


async def test_speakers_are_voices(choir: Path) -> None:
    async with piper(choir) as synthesizer:
        assert [voice.id for voice in synthesizer.info.voices] == ["ben", "anna", "cleo"]
        for voice, hertz in ((None, 500), ("anna", 300), ("ben", 500), ("cleo", 700)):
            assert pitch(await samples(synthesizer, voice=voice)) == pytest.approx(hertz, rel=0.02)
        with pytest.raises(UnknownVoice):
            await samples(synthesizer, voice="choir")


async def test_speakers_without_names_are_numbered(choir: Path, tmp_path: Path) -> None:
    described = json.loads((choir.parent / "choir.onnx.json").read_text())
    config = tmp_path / "elsewhere.json"
    config.write_text(json.dumps({**described, "speaker_id_map": {}, "language": None}))
    async with piper(choir, config=str(config)) as synthesizer:
        assert [v.id for v in synthesizer.info.voices] == ["1", "0", "2"]
        assert {v.language for v in synthesizer.info.voices} == {"en-us"}
        assert pitch(await samples(synthesizer, voice="2")) == pytest.approx(700, rel=0.02)


async def test_the_scales_reach_the_voice(voice: Path) -> None:
    async with piper(voice, noise_scale=0.5, noise_w=0.1, threads=1) as synthesizer:
        assert pitch(await samples(synthesizer)) == pytest.approx(300 + 500 + 200, rel=0.02)


def test_sentences_come_one_by_one(voice: Path) -> None:
    engine = Engine(str(voice))

    def spoken(text: str) -> list[int]:
        pieces: list[bytes] = []
        engine.speak_to(SimpleNamespace(text=text, voice=None, speed=1.0), pieces.append)
        return [len(piece) for piece in pieces]

    sentences = ["One sentence.", "Another, longer sentence!", "A third one?"]
    assert spoken(" ".join(sentences)) == [n_bytes for each in sentences for n_bytes in spoken(each)]
    assert len(spoken(" ".join(sentences))) == 3


@pytest.mark.parametrize("text", ["a\0b", "1 + 1 = 2", "你好", "[[ həlˈoʊ ]]", "x" * 3000, "<speak>&amp;"])
async def test_any_text_is_spoken(voice: Path, text: str) -> None:
    async with piper(voice) as synthesizer:
        assert loudness(await samples(synthesizer, text)) > 5000


async def test_a_sound_that_a_voice_lacks_is_left_out_and_not_logged(tmp_path: Path) -> None:
    few = {"_": [0], "^": [1], "$": [2], "a": [3]}
    voice = make_voice(tmp_path / "few.onnx", phoneme_type="text", phoneme_id_map=few)
    with capture_logs() as logs:
        async with piper(voice) as synthesizer:
            lengths = [len(await samples(synthesizer, text)) for text in ("a", "aé你", "aa")]
    assert lengths[0] == lengths[1] == lengths[2] - 2 * 256 * 2
    assert not [log for log in logs if "phoneme" in log.get("line", "")]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_speakers": 2}, "is not the Piper voice that its .json file describes"),
        ({"espeak": {"voice": "xx"}}, "cannot speak: Failed to set voice: xx"),
        ({"audio": {}}, "describes no Piper voice: KeyError('sample_rate')"),
        ({"phoneme_type": "smoke"}, "describes no Piper voice"),
        ({"audio": {"sample_rate": 10}}, "sample_rate is 10"),
    ],
)
async def test_a_description_that_does_not_fit_is_one_sentence(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    voice = make_voice(tmp_path / "voice.onnx", **changes)
    with pytest.raises(EngineUnavailable) as refused:
        async with piper(voice):
            pass
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_a_node_speaks_with_it_in_the_users_own_environment(
    start_node: StartNode, client: TtsClient, choir: Path, tmp_path: Path
) -> None:
    venv.create(tmp_path / "own", with_pip=False)
    python = tmp_path / "own" / "bin" / "python"
    settings = {"engine": "piper", "piper_voice": choir, "python": python, "piper_threads": 1}
    node = await start_node(**settings)
    assert await node.wait() == 2
    assert "no package piper-tts" in last_sentence(node.log)
    assert "pip install 'antiphon[piper]'" in node.log
    (packages,) = (tmp_path / "own").glob("lib/python*/site-packages")
    (packages / "piper.pth").write_text(sysconfig.get_path("purelib"))
    await start_node(**settings)
    await until_ready(client)
    assert [voice.id for voice in await client.voices("piper")] == ["ben", "anna", "cleo"]
    text = "One sentence. Another sentence."
    for voice, hertz in ((None, 500), ("cleo", 700)):
        heard = ffmpeg_decoded(await client.speak(text, model="piper", voice=voice), RATE)
        assert len(heard) / RATE > 1.5
        assert pitch(heard[RATE // 4 : RATE // 2]) == pytest.approx(hertz, rel=0.03)
    with pytest.raises(UnknownVoice, match="nobody"):
        await client.speak(text, model="piper", voice="nobody")
    with pytest.raises(NothingToSpeak):
        await client.speak("...", model="piper")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "SYNTH_PIPER_VOICE: the engine `piper` needs the path"),
        ({"piper_voice": "/does/not/exist.onnx"}, "SYNTH_PIPER_VOICE: there is no file /does/not/exist.onnx"),
        ({"piper_voice": "alone.onnx"}, "SYNTH_PIPER_CONFIG: there is no file alone.onnx.json"),
        ({"piper_voice": "alone.onnx", "piper_config": "x"}, "SYNTH_PIPER_CONFIG: there is no file x"),
        ({"piper_voice": "text.onnx"}, "SYNTH_PIPER_VOICE: text.onnx is no model"),
        (
            {"piper_voice": "text.onnx", "piper_config": "text.onnx"},
            "SYNTH_PIPER_CONFIG: text.onnx cannot be read",
        ),
        ({"piper_voice": "text.onnx", "piper_cuda": "yes"}, "SYNTH_PIPER_CUDA: this onnxruntime cannot"),
        ({"piper_voice": "text.onnx", "piper_noise_scale": "-1"}, "SYNTH_PIPER_NOISE_SCALE"),
        ({"piper_voice": "text.onnx", "piper_noise": "1"}, "SYNTH_PIPER_NOISE is no setting"),
        ({"piper_voice": "text.onnx", "piper_threads": "0"}, "SYNTH_PIPER_THREADS"),
    ],
)
async def test_a_voice_that_cannot_be_loaded_ends_the_node(
    nats_url: str,
    subjects: Subjects,
    voice: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alone.onnx").touch()
    (tmp_path / "text.onnx").write_text("no model\n")
    described = (voice.parent / f"{voice.name}.json").read_text()
    (tmp_path / "text.onnx.json").write_text(described)
    status, said = await ended(node_environment(nats_url, subjects, engine="piper", **settings))
    assert status == 2, said
    assert sentence in last_sentence(said)
