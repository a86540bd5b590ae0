"""Settings of a node: what is unknown or out of range is one sentence with the variable in it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from antiphon.settings import SettingsError, load, variable
from synth_node.config import SynthSettings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("SYNTH_", "NATS_", "TTS_", "LOG_")):
            monkeypatch.delenv(name)


def test_nothing_needs_to_be_set() -> None:
    settings = load(SynthSettings)
    assert (settings.engine, settings.model, settings.slots, settings.tts_root) == ("espeak", None, 1, "tts")
    assert settings.nats_urls == ["nats://127.0.0.1:4222"]


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("SYNTH_SLOTS", "1024", "slots", 1024),
        ("SYNTH_PROCESSES", "1", "processes", 1),
        ("SYNTH_BATCH_WAIT_MS", "0", "batch_wait_ms", 0.0),
        ("SYNTH_MODEL", "my-model_2", "model", "my-model_2"),
        ("SYNTH_MODEL", "", "model", None),
        ("SYNTH_SLOTS", "", "slots", 1),
        ("SYNTH_GRACE_S", "0", "grace_s", 0.0),
        ("SYNTH_NODE", "any * name", "node", "any * name"),
        ("SYNTH_ENGINE", "my.py:tts_api", "engine", "my.py:tts_api"),
        ("SYNTH_SLOT_ENV", "A=0|1 B=x", "slot_env", "A=0|1 B=x"),
        ("SYNTH_PYTHON", sys.executable, "python", sys.executable),
        ("SYNTH_PYTHON", "python3", "python", "python3"),
        ("SYNTH_WARM_UP", "", "warm_up", None),
        ("SYNTH_WARM_UP", "Hello.", "warm_up", "Hello."),
        ("SYNTH_SEGMENT_S_PER_CHARACTER", "0", "segment_s_per_character", 0.0),
        ("SYNTH_MEMORY_MIB", "4096", "memory_mib", 4096),
        ("synth_slots", "3", "slots", 3),
        ("LOG_LEVEL", "debug", "log_level", "debug"),
        ("TTS_ROOT", "tts2", "tts_root", "tts2"),
    ],
)
def test_a_value_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, read: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(load(SynthSettings), field) == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SYNTH_PROCESSES", value) for value in ("0", "-1", "1.5", "2")),
        *(("SYNTH_BATCH_WAIT_MS", value) for value in ("-1", "10001", "nan", "soon")),
        *(("SYNTH_SLOTS", value) for value in ("0", "-1", "1025", "1.5", "many", "nan")),
        *(("SYNTH_MODEL", value) for value in ("a.b", "*", ">", "a b", "模型")),
        *(("SYNTH_GRACE_S", value) for value in ("-1", "inf", "nan", "soon")),
        *(
            (f"SYNTH_{name}_S", "0")
            for name in ("START", "HANG", "SEGMENT", "BUDGET", "MAX_AUDIO", "HEARTBEAT", "REARM")
        ),
        *((f"SYNTH_{name}_S", "inf") for name in ("START", "HANG", "BUDGET", "HEARTBEAT")),
        *(("SYNTH_BIT_RATE", value) for value in ("7999", "320001", "64k")),
        *(("SYNTH_SLOT_ENV", value) for value in ("GPU", "A={gpu}", "A='1")),
        *(("SYNTH_WARM_UP", value) for value in (" ", "🙂")),
        *(("SYNTH_SEGMENT_S_PER_CHARACTER", value) for value in ("-1", "inf")),
        *((f"SYNTH_{name}", value) for name in ("RECYCLE_AFTER", "MEMORY_MIB") for value in ("-1", "1.5")),
        *(("SYNTH_PYTHON", value) for value in ("/nonexist/python", "no-such-python", "/")),
        ("SYNTH_MAX_TEXT_CHARACTERS", "0"),
        ("SYNTH_BUFFER_BYTES", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("TTS_ROOT", "a.b"),
        ("NATS_URL", ","),
        ("NATS_URL", "nats://host:port"),
    ],
)
def test_a_bad_value_is_one_sentence_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load(SynthSettings)
    text = str(refused.value)
    assert text.startswith(name)
    assert "\n" not in text
    assert "pydantic" not in text


@pytest.mark.parametrize(
    ("name", "hint"),
    [("SYNTH_SLOT", "SYNTH_SLOTS"), ("SYNTH_ENGIN", "SYNTH_ENGINE"), ("SYNTH_GRACE", "SYNTH_GRACE_S")],
)
def test_an_unknown_variable_is_named_with_what_may_be_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "2")
    with pytest.raises(SettingsError, match=rf"{name} is no setting of this process; did you mean {hint}\?"):
        load(SynthSettings)


@pytest.mark.parametrize("name", ["SYNTH_NODE", "synth_voice", "TTS_ROOT"])
def test_bytes_that_are_no_text_are_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, os.fsdecode(b"caf\xe9"))
    with pytest.raises(SettingsError, match=f"^{name} is no UTF-8$"):
        load(SynthSettings)


def test_an_unknown_variable_is_refused_even_if_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_QQQQ", "")
    with pytest.raises(SettingsError, match="SYNTH_QQQQ"):
        load(SynthSettings)


def test_variables_of_others_are_not_ours_to_judge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PORT", "x")
    monkeypatch.setenv("NATS_SOMETHING", "x")
    monkeypatch.setenv("SYNTHESIZER", "x")
    load(SynthSettings)


def test_credentials_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://user:hunter2@host:4222")
    assert "hunter2" not in repr(load(SynthSettings))
    monkeypatch.setenv("NATS_URL", "nats://user:hunter2@host:port")
    with pytest.raises(SettingsError) as refused:
        load(SynthSettings)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__suppress_context__, "a traceback would tell more"


def test_the_servers_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "nats_url"
    secret.write_text("nats://user:hunter2@one:4222,nats://two:4222\n")
    monkeypatch.setenv("NATS_URL_FILE", str(secret))
    settings = load(SynthSettings)
    assert settings.nats_urls == ["nats://user:hunter2@one:4222", "nats://two:4222"]
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("content", [None, "", "nats://user:hunter2@host:port"])
def test_a_file_that_names_no_server_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    secret = tmp_path / "nats_url"
    if content is not None:
        secret.write_text(content)
    monkeypatch.setenv("NATS_URL_FILE", str(secret))
    with pytest.raises(SettingsError, match="NATS_URL_FILE") as refused:
        _ = load(SynthSettings).nats_urls
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("engine", ["xunfei", "openai"])
def test_an_engine_behind_the_network_has_no_processes_to_share(
    monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    monkeypatch.setenv("SYNTH_ENGINE", engine)
    monkeypatch.setenv("SYNTH_SLOTS", "4")
    monkeypatch.setenv("SYNTH_PROCESSES", "4")
    load(SynthSettings)
    monkeypatch.setenv("SYNTH_PROCESSES", "1")
    with pytest.raises(SettingsError, match=f"^SYNTH_PROCESSES: the engine {engine} has no processes$"):
        load(SynthSettings)


def test_settings_do_not_change() -> None:
    settings = load(SynthSettings)
    with pytest.raises(ValueError, match="frozen"):
        settings.slots = 2


def test_every_setting_has_a_variable_of_its_own() -> None:
    names = [variable(SynthSettings, field) for field in SynthSettings.model_fields]
    assert len(set(names)) == len(names)
    assert all(name == name.upper() for name in names)
