"""Where the server is, and the key, with sentences that name what is wrong and show no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from antiphon.settings import SettingsError, load
from synth_node.engines.openai.settings import OpenAISettings

URL = "http://127.0.0.1:8000/v1"


def loaded(monkeypatch: pytest.MonkeyPatch, **values: str) -> OpenAISettings:
    for name, value in values.items():
        monkeypatch.setenv(f"SYNTH_OPENAI_{name.upper()}", value)
    return load(OpenAISettings)


def test_only_the_address_has_to_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, base_url=f" {URL}/ ")
    assert settings.base_url == URL
    assert settings.key() is None
    assert settings.voice_ids == ()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("base_url", "127.0.0.1:8000/v1", "must be an address such as http://"),
        ("base_url", "ftp://x/v1", "must be an address such as"),
        ("base_url", "http://", "must be an address such as"),
        ("base_url", "http://x:0/v1", "must be an address such as"),
        ("base_url", "http://x:99999/v1", "SYNTH_OPENAI_BASE_URL: must be an address"),
        ("base_url", "http://me:hunter2/v1", "must be an address such as"),
        ("base_url", "http://my host/v1", "must be an address such as"),
        ("base_url", "https://me:hunter2@x/v1", "no password; the key belongs in SYNTH_OPENAI_API_KEY"),
        ("base_url", "http://x/v1?key=hunter2", "without . or #"),
        ("base_url", "http://x/v1/audio/speech/", "must end before /audio/speech"),
        ("voices", " ,", "SYNTH_OPENAI_VOICES: there is no voice"),
        ("format", "wav", "SYNTH_OPENAI_FORMAT"),
        ("sample_rate", "24", "SYNTH_OPENAI_SAMPLE_RATE"),
        ("attempts", "0", "SYNTH_OPENAI_ATTEMPTS"),
        ("idle_s", "inf", "SYNTH_OPENAI_IDLE_S"),
        ("extra_body", "stream", 'must be a JSON object such as {"stream": true}'),
        ("extra_body", "[1]", "must be a JSON object"),
        ("extra_body", '{"voice": "x", "input": "y"}', "must not hold input, voice, which this engine"),
        ("modell", "x", "did you mean SYNTH_OPENAI_MODEL"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    with pytest.raises(SettingsError, match=text) as caught:
        loaded(monkeypatch, **{"base_url": URL, name: value})
    assert "hunter2" not in str(caught.value)


def test_without_an_address_the_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="SYNTH_OPENAI_BASE_URL"):
        loaded(monkeypatch)


def test_voices_are_those_between_the_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, base_url=URL, voices=" anna ,, ben,").voice_ids == ("anna", "ben")


def test_the_file_of_the_key_wins_and_is_read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("sk-zero")
    settings = loaded(monkeypatch, base_url=URL, api_key="sk-variable", api_key_file=str(file))
    for key in ("sk-first", "sk-second"):
        file.write_text(f"{key}\n")
        assert settings.key() == key
    assert "sk-second" not in repr(settings)


@pytest.mark.parametrize(
    ("content", "text"),
    [(None, ": .*No such file"), ("\n", ": .*is empty"), ("sk-1\r\nX: y", " holds a line break")],
)
def test_a_key_that_cannot_be_used_is_refused_at_once_and_unseen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None, text: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=f"^SYNTH_OPENAI_API_KEY_FILE{text}") as caught:
        loaded(monkeypatch, base_url=URL, api_key_file=str(file))
    assert "sk-1" not in str(caught.value)


def test_a_key_of_the_environment_is_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^SYNTH_OPENAI_API_KEY holds") as caught:
        loaded(monkeypatch, base_url=URL, api_key="sk-1\r\nX: y")
    assert "sk-1" not in str(caught.value)
