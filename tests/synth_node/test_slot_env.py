"""Variables of each slot's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synth_node.process.host import EngineHost
from synth_node.process.options import EngineOptions
from synth_node.slot_env import env_of_slot, read_slot_env
from tests.synth_node.conftest import StartNode

ENGINE = """
import json, os
with open(os.environ["SEEN"], "w") as file:
    file.write(os.environ["GPU"])
with open(os.environ["SEEN"] + ".all", "w") as file:
    json.dump(dict(os.environ), file)
def tts_api(text):
    return bytes(16000)
tts_api.sample_rate = 8000
"""


@pytest.mark.parametrize(
    ("text", "of_slots"),
    [
        ("", [{}, {}]),
        ("CUDA_VISIBLE_DEVICES={slot}", [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        ("GPU=0|1", [{"GPU": "0"}, {"GPU": "1"}, {"GPU": "0"}, {"GPU": "1"}]),
        ("GPU=0,1|2,3 N=4", [{"GPU": "0,1", "N": "4"}, {"GPU": "2,3", "N": "4"}, {"GPU": "0,1", "N": "4"}]),
        ("  A='one two'\n B=\"{slot}|x\" ", [{"A": "one two", "B": "0"}, {"A": "one two", "B": "x"}]),
        ("A=/tmp/cache-{slot}/{slot} B=", [{"A": "/tmp/cache-0/0", "B": ""}]),
        ("A=|0 B=x=y", [{"A": "", "B": "x=y"}, {"A": "0", "B": "x=y"}]),
    ],
)
def test_each_slot_gets_its_own(text: str, of_slots: list[dict[str, str]]) -> None:
    assert [env_of_slot(text, slot) for slot in range(len(of_slots))] == of_slots


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("CUDA_VISIBLE_DEVICES", "'CUDA_VISIBLE_DEVICES' is not NAME=VALUE"),
        ("A=1 0|1", r"'0\|1' is not NAME=VALUE"),
        ("=1", "'=1' is not NAME=VALUE"),
        ("1A=1", "'1A=1' is not NAME=VALUE"),
        ("A-B=1", "'A-B=1' is not NAME=VALUE"),
        ("A=1 A=2", "A is given twice"),
        ("A={gpu}", "A has {gpu} in its value; only {slot} is known"),
        ("A={slot}{}", "A has {} in its value"),
        ("A='1", "quotes do not match"),
    ],
)
def test_a_bad_entry_is_one_sentence(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_slot_env(text)


async def test_an_engine_sees_its_own_variables_and_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    for name in (
        "NATS_URL",
        "SYNTH_X",
        "GATEWAY_API_KEYS",
        "ANTIPHON_NATS_TOKEN",
        "nats_url",
        "XUNFEI_API_KEY",
    ):
        monkeypatch.setenv(name, "SECRET")
    monkeypatch.setenv("OF_THE_ENGINE", "yes")
    options = EngineOptions(env={"SEEN": str(tmp_path / "seen"), "GPU": "1", "NATS_OF_THE_SLOT": "told"})
    async with EngineHost(f"{tmp_path / 'mine.py'}:tts_api", slot=0, options=options):
        seen = json.loads((tmp_path / "seen.all").read_text())
    assert seen["OF_THE_ENGINE"] == "yes"
    assert seen["NATS_OF_THE_SLOT"] == "told"
    assert "SECRET" not in seen.values()


async def test_the_engines_of_a_node_see_what_is_their_slots(start: StartNode, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ENGINE)
    await start(
        engine=f"{tmp_path / 'mine.py'}:tts_api",
        slots=3,
        slot_env=f"SEEN={tmp_path}/slot{{slot}} GPU='a b|c'",
    )
    seen = [(tmp_path / f"slot{number}").read_text() for number in range(3)]
    assert seen == ["a b", "c", "a b"]
