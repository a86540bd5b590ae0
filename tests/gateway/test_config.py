from __future__ import annotations

import re
from pathlib import Path

import pytest

from antiphon.settings import SettingsError, load, variable
from gateway.config import GatewaySettings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "http.md"


def test_defaults_listen_on_loopback() -> None:
    settings = load(GatewaySettings)
    assert (settings.host, settings.port, settings.tts_root) == ("127.0.0.1", 8080, "tts")


def test_servers_are_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://one:4222, tls://two:4222")
    assert load(GatewaySettings).nats_urls == ["nats://one:4222", "tls://two:4222"]


def test_credentials_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_URL", "nats://user:hunter2@host:4222")
    assert "hunter2" not in repr(load(GatewaySettings))


def test_an_empty_variable_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_MODEL", "")
    monkeypatch.setenv("GATEWAY_PORT", "")
    assert (load(GatewaySettings).model, load(GatewaySettings).port) == (None, 8080)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "abc"),
        ("GATEWAY_PORT", "70000"),
        ("GATEWAY_PORT", "tcp://10.0.0.1:8080"),
        ("GATEWAY_MODEL", "a.b"),
        ("GATEWAY_WAIT_S", "nan"),
        ("GATEWAY_WAIT_S", "0"),
        ("GATEWAY_TIMEOUT_S", "-1"),
        ("GATEWAY_MAX_WAITING", "-1"),
        ("GATEWAY_MAX_CONNECTIONS", "0"),
        ("LOG_FORMAT", "xml"),
        ("GATEWAY_ACCESS_LOG", "perhaps"),
        ("TTS_ROOT", "a b"),
        ("NATS_URL", " , "),
    ],
)
def test_a_bad_value_is_one_sentence_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load(GatewaySettings)
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)


def test_an_unknown_variable_is_refused_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_PROT", "8080")
    with pytest.raises(SettingsError, match=r"^GATEWAY_PROT is no setting.*GATEWAY_PORT\?$"):
        load(GatewaySettings)


def test_every_setting_is_in_the_reference() -> None:
    documented = set(
        re.findall(r"^\| `((?:GATEWAY|NATS|TTS|LOG)_[A-Z_]+)`", REFERENCE.read_text(), re.MULTILINE)
    )
    assert documented == {variable(GatewaySettings, name) for name in GatewaySettings.model_fields}
