"""From a request to encoded audio, through real engine processes: every form of engine and of audio."""

from __future__ import annotations

import asyncio
import io
import math
from pathlib import Path
from typing import Any

import av
import pytest

from antiphon.errors import AudioTooLarge, BadAudio, InvalidRequest, NothingToSpeak, UnknownVoice
from synth_node.audio.encode import Mp3Encoder
from synth_node.host import EngineUnavailable
from tests.synth_node.conftest import FAULTS
from tests.synth_node.process.support_engine import synthesizer_of
from tests.synth_node.support_speaking import FORMS, speak


def seconds_of(audio: bytes) -> float:
    """Return the duration that a decoder finds."""
    with av.open(io.BytesIO(audio), "r") as container:
        return math.fsum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def mp3_file(seconds: float = 2.0, rate: int = 22050) -> bytes:
    encoder = Mp3Encoder(rate, rate, 64_000)
    return encoder.encode(bytes(2 * int(seconds * rate))) + encoder.flush()


@pytest.mark.parametrize(
    "form",
    [
        *("whole_wav", "stereo_wav", "wav_in_pieces", "pcm", "whole_pcm", "odd_pcm"),
        *("async_file", "async_pcm", "AsyncFull", "Full", "options", "everything"),
    ],
)
async def test_every_form_of_engine_gives_a_second_of_mp3(form: str) -> None:
    async with synthesizer_of(FORMS + form) as synthesizer:
        for _ in range(2):
            audio, duration_s = await speak(synthesizer)
            assert duration_s == pytest.approx(1.0, abs=0.002)
            assert seconds_of(audio) == pytest.approx(1.0, abs=0.04)


async def test_only_declared_options_are_passed_and_own_defaults_stay() -> None:
    async with synthesizer_of(FORMS + "options") as synthesizer:
        assert (await speak(synthesizer, voice="anyone"))[1] == pytest.approx(2.0)
        assert (await speak(synthesizer, speed=2.0))[1] == pytest.approx(0.5)
    async with synthesizer_of(FORMS + "pcm") as synthesizer:
        assert (await speak(synthesizer, voice="anyone"))[1] == pytest.approx(1.0)
        with pytest.raises(InvalidRequest) as refused:
            await speak(synthesizer, speed=2.0)
        assert refused.value.param == "speed"


async def test_a_class_gets_the_whole_request_and_lists_its_voices() -> None:
    async with synthesizer_of(FORMS + "Full", default_voice="anna") as synthesizer:
        info = synthesizer.info
        assert (info.name, info.sample_rate) == ("full", 16000)
        assert [(v.id, v.name, v.language) for v in info.voices] == [
            ("anna", "Anna", "de"),
            ("bob", "Bob", "en-gb"),
            ("carl", "carl", ""),
        ]
        assert info.start_up_s > 0
        assert (await speak(synthesizer, voice="bob"))[1] == pytest.approx(1.0)
        assert (await speak(synthesizer))[1] == pytest.approx(2.0)
        assert (await speak(synthesizer, speed=2.0))[1] == pytest.approx(3.0)
        with pytest.raises(UnknownVoice) as unknown:
            await speak(synthesizer, voice="dora")
        assert unknown.value.param == "voice"
    with pytest.raises(EngineUnavailable, match="dora"):
        async with synthesizer_of(FORMS + "Full", default_voice="dora"):
            pass


@pytest.mark.parametrize("form", ["file_from_text", "pieces_from_text"])
async def test_a_file_in_the_asked_format_is_passed_on_byte_for_byte(tmp_path: Path, form: str) -> None:
    file = tmp_path / "ready.mp3"
    tagged = b"ID3\x04\0\0\0\0\x0f\x00" + bytes(15 * 128) + mp3_file() + b"TAG".ljust(128, b"x")
    async with synthesizer_of(FORMS + form) as synthesizer:
        for data in (mp3_file(), tagged, mp3_file(300.0)):
            file.write_bytes(data)
            audio, duration_s = await speak(synthesizer, str(file))
            assert audio == data
            assert duration_s == pytest.approx(seconds_of(data), abs=0.1)


async def test_a_whole_wav_is_passed_on_if_wav_is_asked(tmp_path: Path) -> None:
    async with synthesizer_of(FORMS + "wav_in_pieces") as synthesizer:
        audio, duration_s = await speak(synthesizer, format="wav")
        assert audio[:4] == b"RIFF"
        assert duration_s == pytest.approx(1.0)
        opus, duration_s = await speak(synthesizer, format="opus")
        assert opus[:4] == b"OggS"
        assert duration_s == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"format": "opus", "sample_rate": 11025}, "sample_rate"),
        ({"input_type": "ssml"}, "input_type"),
        ({"timestamps": True}, "timestamps"),
    ],
)
async def test_what_cannot_be_given_is_refused_before_synthesis(
    tmp_path: Path, options: dict[str, Any], param: str
) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        with pytest.raises(InvalidRequest) as caught:
            await speak(synthesizer, f"pid {tmp_path / 'pid'}", **options)
        assert caught.value.param == param
        assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize(
    ("container", "codec", "rate"),
    [("ogg", "libopus", 48000), ("flac", "flac", 96000), ("adts", "aac", 24000)],
)
async def test_other_formats_are_converted(tmp_path: Path, container: str, codec: str, rate: int) -> None:
    file = tmp_path / "speech"
    with av.open(str(file), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame(format="s16", layout="mono", samples=rate * 2)
        frame.sample_rate = rate
        frame.planes[0].update(bytes(rate * 4))
        resampler = av.AudioResampler(stream.format, "mono", rate, frame_size=stream.frame_size or 4096)
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))
    for form in ("file_from_text", "pieces_from_text"):
        async with synthesizer_of(FORMS + form) as synthesizer:
            audio, duration_s = await speak(synthesizer, str(file))
            assert audio[:2] == b"\xff\xf3" or audio[:2] == b"\xff\xfb"
            assert duration_s == pytest.approx(2.0, abs=0.1)
            assert seconds_of(audio) == pytest.approx(duration_s, abs=0.05)


async def test_an_mp3_at_another_sample_rate_is_converted(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(mp3_file(2.0))
    async with synthesizer_of(FORMS + "pieces_from_text") as synthesizer:
        text = str(tmp_path / "a.mp3")
        assert (await speak(synthesizer, text, sample_rate=22050))[0] == mp3_file(2.0)
        audio, _ = await speak(synthesizer, text, sample_rate=16000)
        with av.open(io.BytesIO(audio), "r") as container:
            assert container.streams.audio[0].rate == 16000
        assert seconds_of(audio) == pytest.approx(2.0, abs=0.1)
        with pytest.raises(InvalidRequest) as refused:
            await speak(synthesizer, text, sample_rate=17000)
        assert refused.value.param == "sample_rate"


@pytest.mark.parametrize(
    "data",
    [
        b"this is no audio",
        b"\xff" * 5000,
        b"RIFF\0\0\0\0WAVE" + b"x" * 5000,
        b"OggS" + b"x" * 5000,
        b"ID3\x04\0\0\0\0\0\x00" + b"x" * 5000,
        b"fLaC",
    ],
)
async def test_bytes_that_are_no_audio_are_a_clear_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad").write_bytes(data)
    async with synthesizer_of(FORMS + "pieces_from_text") as synthesizer:
        with pytest.raises(BadAudio):
            await speak(synthesizer, str(tmp_path / "bad"))
        (tmp_path / "bad").write_bytes(b"")
        with pytest.raises(NothingToSpeak):
            await speak(synthesizer, str(tmp_path / "bad"))


async def test_the_audio_is_bounded() -> None:
    async with synthesizer_of(FAULTS, max_audio_s=10) as synthesizer:
        with pytest.raises(AudioTooLarge):
            await speak(synthesizer, "stream 0")
        await speak(synthesizer, "fine")


async def test_four_slots_speak_at_the_same_time() -> None:
    async def one(slot: int) -> float:
        async with synthesizer_of("tone", slot=slot) as synthesizer:
            return sum([(await speak(synthesizer, "x" * 100))[1] for _ in range(3)])

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(slot)) for slot in range(4)]
    assert [task.result() for task in running] == pytest.approx([18.0] * 4)


async def test_a_text_that_is_not_to_be_split_is_one_call(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def tts_api(text):\n    return bytes(16000)\ntts_api.sample_rate = 8000\n"
    )
    text = "A first sentence that is long enough. And a second one.\n\nAnother paragraph."
    async with synthesizer_of(f"{tmp_path / 'mine.py'}:tts_api", segment_characters=0) as synthesizer:
        assert (await speak(synthesizer, text))[1] == pytest.approx(1.0), "a second for each call"
