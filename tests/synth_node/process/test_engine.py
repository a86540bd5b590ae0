"""Where an engine's process runs, that it starts or says why not, and that it never outlives its node."""

from __future__ import annotations

import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from synth_node.host import EngineUnavailable
from tests.synth_node.conftest import FAULTS, GUARD_S
from tests.synth_node.process.support_engine import synthesizer_of
from tests.synth_node.support_speaking import is_gone, speak

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("deed", ["pid", "pid_and_hang", "pid_and_hang_in_c", "pid_of_helper"])
def test_no_engine_outlives_a_killed_node(tmp_path: Path, deed: str) -> None:
    """Also while it sits in a call that blocks, with or without the interpreter's lock; nor does a helper."""
    file = tmp_path / "pid"
    node = f"""
import asyncio
from antiphon.request import SpeechRequest
from tests.synth_node.process.support_engine import synthesizer_of
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
        (
            "from functools import partial\nclass E:\n  synthesize = partial(lambda a, b, c: b, 1)",
            "mine.py:E",
            "partial is called with the request and nothing else",
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
