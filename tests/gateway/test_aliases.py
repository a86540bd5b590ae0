from __future__ import annotations

import pytest

from antiphon.heartbeat import Voice, VoiceList
from antiphon.openai_voices import OPENAI_VOICES
from antiphon.settings import SettingsError, load
from gateway.aliases import (
    OPENAI_MODELS,
    other_names,
    parse_model_aliases,
    parse_voice_aliases,
)
from gateway.config import GatewaySettings

ANNA, BOB, NOVA = Voice("anna"), Voice("bob"), Voice("nova")


def test_model_aliases_are_read() -> None:
    assert parse_model_aliases(OPENAI_MODELS) == dict.fromkeys(("tts-1", "tts-1-hd", "gpt-4o-mini-tts"))
    assert parse_model_aliases(" a = espeak ,, b=,c") == {"a": "espeak", "b": None, "c": None}
    assert parse_model_aliases("") == {}


def test_voice_aliases_are_read() -> None:
    assert parse_voice_aliases("alloy=en-us+m3, piper : nova = de_DE-x:1=2") == {
        (None, "alloy"): "en-us+m3",
        ("piper", "nova"): "de_DE-x:1=2",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_ALIASES", "=espeak"),
        ("MODEL_ALIASES", "a=b.c"),
        ("VOICE_ALIASES", "alloy"),
        ("VOICE_ALIASES", "alloy="),
        ("VOICE_ALIASES", "=bob"),
        ("VOICE_ALIASES", ":alloy=bob"),
        ("VOICE_ALIASES", "a.b:alloy=bob"),
        ("VOICE_ALIASES", "piper:=bob"),
    ],
)
def test_a_bad_alias_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"GATEWAY_{name}", value)
    with pytest.raises(SettingsError, match=rf"^GATEWAY_{name}: "):
        load(GatewaySettings)


def test_names_are_dealt_out_in_turn() -> None:
    names = other_names("m", VoiceList((ANNA, BOB)), {})
    assert list(names) == list(OPENAI_VOICES)
    assert list(names.values()) == ["anna", "bob"] * 6 + ["anna"]


def test_a_voice_keeps_its_own_name() -> None:
    names = other_names("m", VoiceList((ANNA, NOVA), {"nova": "anna", "bob": "anna"}), {})
    assert "nova" not in names
    assert names["bob"] == "anna"


def test_an_engine_that_knows_some_names_leaves_the_others_to_us() -> None:
    names = other_names("m", VoiceList((ANNA, BOB), {"alloy": "bob", "chief": "anna"}), {})
    assert (names["alloy"], names["chief"], names["ash"]) == ("bob", "anna", "bob")
    assert set(names) == {*OPENAI_VOICES, "chief"}


def test_a_model_without_voices_has_only_what_is_configured() -> None:
    assert other_names("m", VoiceList(), {(None, "alloy"): "x", ("n", "ash"): "y"}) == {"alloy": "x"}


def test_the_operator_wins_and_the_model_before_all() -> None:
    configured = {("m", "anna"): "bob", (None, "anna"): "nova", (None, "alloy"): "nova"}
    names = other_names("m", VoiceList((ANNA, BOB), {"alloy": "anna"}), configured)
    assert (names["anna"], names["alloy"]) == ("bob", "nova")
    assert other_names("n", VoiceList((ANNA, BOB)), configured)["anna"] == "nova"
