"""Real engine processes, from a request to encoded audio: every form of engine, every way to fail."""

from __future__ import annotations

import asyncio
import io
import math
import os
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import av
import psutil
import pytest
from structlog.testing import capture_logs

from antiphon.errors import (
    AudioTooLarge,
    BadAudio,
    EngineCrashed,
    EngineFailed,
    InvalidRequest,
    NothingToSpeak,
    SpeechError,
    UnknownVoice,
)
from antiphon.request import SpeechRequest
from synth_node.audio.encode import Mp3Encoder
from synth_node.synthesizer import EncodedAudio, EngineUnavailable, Synthesizer
from synth_node.utterance import MAX_BUFFERED_BYTES
from tests.synth_node.support_engine import synthesizer_of

ENGINES = Path(__file__).parent.parent / "engines"
FORMS = f"{ENGINES / 'forms.py'}:"
ROOT = Path(__file__).parent.parent.parent
FAULTS = f"{ENGINES / 'faults.py'}:misbehave"
GUARD_S = 20.0


async def speak(synthesizer: Synthesizer, text: str = "hello", **options: Any) -> tuple[bytes, float]:
    """Return the whole audio and the duration that its pieces add up to."""
    data, duration_s = b"", 0.0
    async with asyncio.timeout(GUARD_S):
        async for piece in synthesizer.speak(SpeechRequest(text, **options)):
            if isinstance(piece, EncodedAudio):
                assert piece.data
                data += piece.data
                duration_s += piece.duration_s
    return data, duration_s


def seconds_of(audio: bytes) -> float:
    """Return the duration that a decoder finds."""
    with av.open(io.BytesIO(audio), "r") as container:
        return math.fsum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def mp3_file(seconds: float = 2.0, rate: int = 22050) -> bytes:
    encoder = Mp3Encoder(rate, rate, 64_000)
    return encoder.encode(bytes(2 * int(seconds * rate))) + encoder.flush()


async def leave_after(seconds: float, synthesizer: Synthesizer, text: str) -> None:
    """Speak, and be cancelled in the midst of it."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await speak(synthesizer, text)
    async with asyncio.timeout(GUARD_S):
        await synthesizer.ready()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD_S):
        while not condition():  # noqa: ASYNC110  (a file or a log has no event)
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("raise no such word", EngineFailed, "ValueError: no such word"),
        ("surrogate", EngineFailed, "ValueError"),
        ("raise_later", EngineFailed, "RuntimeError: half way"),
        ("return 'text'", EngineFailed, "returned str; it must return bytes"),
        ("return None", EngineFailed, "returned None"),
        ("return 42", EngineFailed, "returned int"),
        ("return ['a']", EngineFailed, "gave str as a piece"),
        ("array f", EngineFailed, "type float32; they must be 16-bit integers: "),
        ("return (8000, bytes(16000))", EngineFailed, "not one number; the sample rate is an attribute"),
        ("nothing", NothingToSpeak, "no sound"),
        ("return b''", NothingToSpeak, "no sound"),
        ("exit 7", EngineCrashed, "exit status 7"),
        ("exit_later", EngineCrashed, "exit status 3"),
        ("system_exit 4", EngineCrashed, "exit status 4"),
        ("segfault", EngineCrashed, "SIGSEGV"),
        ("memory", EngineCrashed, "exit status 1"),
        ("nonsense deadbeef" + "00" * 20, EngineCrashed, "nonsense"),
        ("nonsense a741000000017fffffff", EngineCrashed, "nonsense"),
        ("nonsense a7410000000100000000", EngineCrashed, "nonsense"),
        ("nonsense a74500000001000000027b7d", EngineCrashed, "nonsense"),
        ("nonsense a75a0000000900000000", EngineCrashed, "nonsense"),
        ("hang", EngineCrashed, "silent for 0.3 s"),
        ("hang_in_c", EngineCrashed, "silent for 0.3 s"),
        ("hang_later", EngineCrashed, "silent for 0.3 s"),
    ],
)
async def test_a_fault_is_a_clear_error_and_the_next_utterance_works(
    text: str, error: type[SpeechError], match: str
) -> None:
    async with synthesizer_of(FAULTS, idle_s=0.3) as synthesizer:
        with pytest.raises(error, match=match):
            await speak(synthesizer, text)
        assert (await speak(synthesizer, "array h"))[1] == pytest.approx(1.0)


async def test_what_an_engine_prints_reaches_the_log_and_never_the_audio() -> None:
    with capture_logs() as logs:
        async with synthesizer_of(FAULTS, slot=3) as synthesizer:
            _, duration_s = await speak(synthesizer, "print hello there")
            assert duration_s == pytest.approx(1.0)

            def lines() -> list[str]:
                return [entry["line"] for entry in logs if entry["event"] == "engine output"]

            expected = {"hello there", "to stderr", "to the descriptor", "from C", "from a helper"}
            await until(lambda: expected <= set(lines()) and any(line[:2] == "xx" for line in lines()))
            assert all(len(line) <= 2000 for line in lines())
            assert {entry["slot"] for entry in logs} == {3}


async def test_a_text_that_is_not_to_be_split_is_one_call(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def tts_api(text):\n    return bytes(16000)\ntts_api.sample_rate = 8000\n"
    )
    text = "A first sentence that is long enough. And a second one.\n\nAnother paragraph."
    async with synthesizer_of(f"{tmp_path / 'mine.py'}:tts_api", segment_characters=0) as synthesizer:
        assert (await speak(synthesizer, text))[1] == pytest.approx(1.0), "a second for each call"


@pytest.mark.parametrize("deed", ["stdin", "nice", "modules", "arguments"])
async def test_the_surroundings_of_an_engine(deed: str) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        await speak(synthesizer, deed)


async def test_an_engine_is_closed_tidily() -> None:
    with capture_logs() as logs:
        async with synthesizer_of(FORMS + "Full") as synthesizer:
            await speak(synthesizer)
        await until(lambda: any(entry.get("line") == "closed tidily" for entry in logs))


async def test_an_engine_that_died_idle_is_restarted_without_failing_a_request(tmp_path: Path) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        for _ in range(3):
            await speak(synthesizer, f"pid {tmp_path / 'pid'}")
            pid = int((tmp_path / "pid").read_text())
            os.kill(pid, 9)
            assert (await speak(synthesizer, "fine"))[1] == pytest.approx(1.0)
            assert is_gone(pid)


@pytest.mark.parametrize("how", ["close", "cancel"])
@pytest.mark.parametrize("engine", ["espeak", "tone"])
async def test_a_cancelled_run_frees_the_slot(engine: str, how: str) -> None:
    with capture_logs() as logs:
        async with synthesizer_of(engine) as synthesizer:
            request = SpeechRequest("a long text " * 5000)
            if how == "close":
                async with aclosing(synthesizer.speak(request)) as pieces:
                    await anext(pieces)
            else:
                await leave_after(0.3, synthesizer, request.text)
            async with asyncio.timeout(3.0):
                await synthesizer.ready()
            await speak(synthesizer)
    assert not [entry for entry in logs if entry["event"] == "engine ended"]


@pytest.mark.parametrize("engine", ["endless", "endless_pieces"])
async def test_an_async_engine_is_cancelled_where_it_waits(engine: str) -> None:
    with capture_logs() as logs:
        async with synthesizer_of(f"{ENGINES / 'faults.py'}:{engine}") as synthesizer:
            for _ in range(2):
                await leave_after(0.1, synthesizer, "hello")
    assert not [entry for entry in logs if entry["event"] == "engine ended"]


async def test_a_cancelled_call_finishes_unheard_if_that_is_sooner_than_a_restart() -> None:
    with capture_logs() as logs:
        async with synthesizer_of(f"{ENGINES / 'faults.py'}:SlowStart") as synthesizer:
            await speak(synthesizer, "sleep 0.30")  # now its time per character is known
            await leave_after(0.1, synthesizer, "sleep 0.30")
            assert (await speak(synthesizer, "fine"))[1] == pytest.approx(1.0)
    assert not [entry for entry in logs if entry["event"] == "engine ended"]


async def test_a_cancelled_call_that_would_go_on_is_killed(tmp_path: Path) -> None:
    async with synthesizer_of(FAULTS) as synthesizer:
        await leave_after(0.5, synthesizer, f"pid_and_hang {tmp_path / 'pid'}")
        assert is_gone(int((tmp_path / "pid").read_text()))
        await speak(synthesizer, "fine")


async def test_an_engine_blocks_while_nobody_listens(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    async with synthesizer_of(FAULTS) as synthesizer:
        async with aclosing(synthesizer.speak(SpeechRequest(f"count {taken}"))) as pieces:
            await anext(pieces)
            before = -1
            while before != (now := int(taken.read_text() or 0)):  # it stands still
                before = now
                await asyncio.sleep(0.1)
            assert now * 16_000 < 3 * MAX_BUFFERED_BYTES
            for _ in range(200):
                await anext(pieces)
            await until(lambda: int(taken.read_text() or 0) > now)
        await speak(synthesizer, "fine")


async def test_four_slots_speak_at_the_same_time() -> None:
    async def one(slot: int) -> float:
        async with synthesizer_of("tone", slot=slot) as synthesizer:
            return sum([(await speak(synthesizer, "x" * 100))[1] for _ in range(3)])

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(slot)) for slot in range(4)]
    assert [task.result() for task in running] == pytest.approx([18.0] * 4)


@pytest.mark.parametrize("deed", ["pid", "pid_and_hang", "pid_and_hang_in_c", "pid_of_helper"])
def test_no_engine_outlives_a_killed_node(tmp_path: Path, deed: str) -> None:
    """Also while it sits in a call that blocks, with or without the interpreter's lock; nor does a helper."""
    file = tmp_path / "pid"
    node = f"""
import asyncio
from antiphon.request import SpeechRequest
from tests.synth_node.support_engine import synthesizer_of
async def main():
    async with synthesizer_of({FAULTS!r}) as synthesizer:
        async for _ in synthesizer.speak(SpeechRequest("{deed} {file}")): pass
        print("spoken", flush=True)
        await asyncio.sleep(3600)
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", node], stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        deadline = time.monotonic() + GUARD_S
        while not (file.exists() and file.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        pid = int(file.read_text())
        assert not is_gone(pid)
    finally:
        process.kill()
        process.wait()
    while not is_gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_an_engine_runs_in_the_users_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    venv.create(tmp_path / "venv", with_pip=False)
    (tmp_path / "theirs.py").write_text(
        "import importlib.util, sys\n"
        "from beside import SECONDS\n"
        "assert importlib.util.find_spec('msgpack') is None\n"
        "assert importlib.util.find_spec('antiphon') is None\n"
        "assert 'venv' in sys.prefix\n"
        "def tts_api(text):\n    return bytes(2 * 8000 * SECONDS)\n"
        "tts_api.sample_rate = 8000\n"
    )
    (tmp_path / "beside.py").write_text("SECONDS = 2\n")
    python = str(tmp_path / "venv" / "bin" / "python")
    async with synthesizer_of(f"{tmp_path / 'theirs.py'}:tts_api", python=python) as synthesizer:
        assert (await speak(synthesizer))[1] == pytest.approx(2.0)


async def test_a_module_is_found_beside_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.py").write_text(
        "def speak(text):\n    return bytes(16000)\nspeak.sample_rate = 8000\n"
    )
    monkeypatch.chdir(tmp_path)
    async with synthesizer_of("config:speak") as synthesizer:  # a name that this package has as well
        assert (await speak(synthesizer))[1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("source", "engine", "match"),
    [
        ("", "espeek", "neither module:attribute nor path.py:attribute, nor an engine that comes with"),
        ("", "mine.py", "lacks the function or class in that file: mine.py:tts_api"),
        ("", "no_such_module:tts_api", "no module 'no_such_module'"),
        ("", "nowhere.py:tts_api", "no file nowhere.py"),
        ("", "mine.py:tts_api", "mine.py has no 'tts_api'"),
        ("tts_api = 3", "mine.py:tts_api", "is no engine: it is of type int, which"),
        ("class E:\n  def speak(self, text): pass", "mine.py:E", "type E, .* has no method synthesize"),
        ("def tts_api(text:", "mine.py:tts_api", "syntax error in line 1"),
        ("import helper", "mine.py:tts_api", "helper.py has a syntax error in line 2"),
        ("import torchh", "mine.py:tts_api", "needs the module 'torchh'"),
        ("from .other import x", "mine.py:tts_api", "relative import.*; name it package.module:attribute"),
        ("raise ValueError('no\\nweights')", "mine.py:tts_api", "imported: ValueError: no weights"),
        ("1 / 0", "mine.py:tts_api", "ZeroDivisionError"),
        ("raise SystemExit(2)", "mine.py:tts_api", "SystemExit"),
        ("def tts_api(): pass", "mine.py:tts_api", "does not take the text"),
        ("def tts_api(text, model): pass", "mine.py:tts_api", "needs model"),
        ("class E:\n  sample_rate = 'x'\n  def synthesize(self, r): pass", "mine.py:E", "sample_rate is 'x'"),
        (
            "class E:\n  def synthesize(self, text, voice): pass",
            "mine.py:E",
            "called with the request and noth",
        ),
        ("class E:\n  def __init__(self): exit('no GPU')", "mine.py:E", "set up: SystemExit: no GPU"),
        ("class E:\n  def __init__(self): raise OSError('no weights')", "mine.py:E", "OSError: no weights"),
        ("import os; os._exit(5)", "mine.py:tts_api", "exit status 5 while it started"),
        ("import time; time.sleep(3600)", "mine.py:tts_api", "not ready within 1 s"),
    ],
)
async def test_an_engine_that_cannot_be_started_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, engine: str, match: str
) -> None:
    (tmp_path / "mine.py").write_text(source)
    (tmp_path / "helper.py").write_text("\ndef load(:")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineUnavailable, match=match) as unavailable:
        async with synthesizer_of(engine, start_timeout_s=1 if "3600" in source else 60):
            pass
    assert "\n" not in str(unavailable.value)


async def test_an_interpreter_that_does_not_exist_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="cannot be run"):
        async with synthesizer_of(FAULTS, python=str(tmp_path / "python")):
            pass
