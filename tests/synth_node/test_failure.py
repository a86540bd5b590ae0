"""What the log tells of an engine's faults: where they are in its own code, and no client's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from antiphon.errors import SpeechError
from antiphon.request import SpeechRequest
from synth_node.host import EngineUnavailable
from tests.synth_node.conftest import soon
from tests.synth_node.process.support_engine import synthesizer_of

ENGINE = """
import ctypes

def tts_api(text):
    return globals()[text.split()[0]](text)
tts_api.sample_rate = 8000

def raises(text):
    raise KeyError(text)

def returns(text):
    return None

def dies(text):
    ctypes.string_at(0)
"""


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("raises secret", ["KeyError in the engine; most recent call last:", 'mine.py", line 5, in tts_api']),
        ("returns secret", ["in the engine: the engine returned None; it must return bytes"]),
        ("dies secret", ["Fatal Python error: Segmentation fault", 'mine.py", line 15 in dies']),
    ],
)
async def test_a_fault_is_told_by_its_place(tmp_path: Path, text: str, lines: list[str]) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    with capture_logs() as logs:
        async with synthesizer_of(f"{tmp_path / 'mine.py'}:tts_api") as synthesizer:
            with pytest.raises(SpeechError):
                _ = [piece async for piece in synthesizer.speak(SpeechRequest(text))]
            await soon(lambda: all(any(line in said for said in output(logs)) for line in lines), "told")
    assert not any("secret" in said for said in output(logs))
    if not text.startswith("dies"):
        assert not any("synth_node" in said for said in output(logs)), "our own code is no matter of theirs"


@pytest.mark.parametrize("source", ["1 / 0", "class E:\n    def __init__(self): 1 / 0"])
async def test_an_engine_that_cannot_be_loaded_is_told_by_its_place(tmp_path: Path, source: str) -> None:
    (tmp_path / "mine.py").write_text(source)
    with (
        capture_logs() as logs,
        pytest.raises(EngineUnavailable, match="ZeroDivisionError: division by zero"),
    ):
        async with synthesizer_of(f"{tmp_path / 'mine.py'}:E"):
            pass
    said = output(logs)
    assert said[:2] == [
        "Traceback (most recent call last):",
        f'  File "{tmp_path / "mine.py"}", line {source.count(chr(10)) + 1}, in '
        + ("__init__" if "class" in source else "<module>"),
    ]


def output(logs: Sequence[Mapping[str, object]]) -> list[str]:
    return [str(entry["line"]) for entry in logs if entry["event"] == "engine output"]
