"""Settings of the engine: what is missing, unknown or wrong is one sentence that shows no secret."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from antiphon.heartbeat import Voice
from antiphon.settings import SettingsError
from synth_node.built_in import load_engine_settings
from synth_node.engines.xunfei.settings import XunfeiSettings

SECRETS = {"APP_ID": "app0hunter2", "API_KEY": "key0hunter2", "API_SECRET": "secret0hunter2"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("XUNFEI_"):
            monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"XUNFEI_{name}", value)


def loaded() -> XunfeiSettings:
    settings = load_engine_settings("xunfei")
    assert isinstance(settings, XunfeiSettings)
    return settings


def refused() -> str:
    with pytest.raises(SettingsError) as caught:
        load_engine_settings("xunfei")
    text = str(caught.value)
    assert "\n" not in text
    assert "hunter2" not in text
    assert "pydantic" not in text
    return text


def test_credentials_are_all_that_is_needed() -> None:
    settings = loaded()
    assert (settings.mode, settings.aue, settings.rate) == ("online", "raw", 16000)
    assert settings.address == "wss://tts-api.xfyun.cn/v2/tts"
    assert [voice.id for voice in settings.voice_list] == [
        *("xiaoyan", "aisjiuxu", "aisxping", "aisjinger", "aisbabyxu")
    ]
    assert settings.voice_list[0] == Voice("xiaoyan", "小燕", "zh")


@pytest.mark.parametrize(
    ("mode", "other", "url"),
    [
        ("super-human", "online", "wss://tts-api-sg.xf-yun.com/v2/tts"),
        ("online", "super-human", "wss://cbm01.cn-huabei-1.xf-yun.com/v1/private/mcd9m97e6"),
    ],
)
def test_an_address_of_the_other_mode_is_refused(
    monkeypatch: pytest.MonkeyPatch, mode: str, other: str, url: str
) -> None:
    monkeypatch.setenv("XUNFEI_MODE", mode)
    monkeypatch.setenv("XUNFEI_URL", url)
    assert refused() == f"XUNFEI_URL: is that of XUNFEI_MODE={other}, but the mode is {mode}"
    monkeypatch.setenv("XUNFEI_MODE", other)
    assert loaded().address == url


def test_the_other_mode_has_an_address_a_rate_and_voices_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNFEI_MODE", "super-human")
    settings = loaded()
    assert settings.address == "wss://cbm01.cn-huabei-1.xf-yun.com/v1/private/mcd9m97e6"
    assert settings.rate == 24000
    assert settings.voice_list[0] == Voice("x5_lingxiaoxuan_flow", "聆小璇", "zh")
    assert len(settings.voice_list) == 5


def test_voices_are_those_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNFEI_VOICES", "x4_yezi, x2_John=John/en ,x4_unheard_of,x4_xiaoyan=Yan")
    assert loaded().voice_list == (
        Voice("x4_yezi", "小露", "zh"),
        Voice("x2_John", "John", "en"),
        Voice("x4_unheard_of", "", ""),
        Voice("x4_xiaoyan", "Yan", ""),
    )


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_comes_from_a_file_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("of the file hunter2\n")
    monkeypatch.setenv(f"XUNFEI_{name}_FILE", str(file))
    credentials = loaded().credentials()
    found = dict(zip(SECRETS, (credentials.app_id, credentials.key, credentials.secret), strict=True))
    assert found == {**SECRETS, name: "of the file hunter2"}
    assert "hunter2" not in repr(loaded())
    assert "hunter2" not in repr(credentials)
    file.write_text("another one")
    assert "another one" in vars_of(loaded())


def vars_of(settings: XunfeiSettings) -> tuple[str, str, str]:
    credentials = settings.credentials()
    return credentials.app_id, credentials.key, credentials.secret


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", [None, "", " \n"])
def test_a_secret_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str | None
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv(f"XUNFEI_{name}_FILE", str(file))
    assert refused().startswith(f"XUNFEI_{name}_FILE")
    monkeypatch.delenv(f"XUNFEI_{name}_FILE")
    monkeypatch.setenv(f"XUNFEI_{name}", content or "")
    assert f"XUNFEI_{name} or XUNFEI_{name}_FILE has to be set" in refused()


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("content", ["hunter2\r\nX: y", "hunter2\nhunter3", "hunter2\u4f60", "hunter2\0"])
def test_a_secret_that_no_secret_can_be_is_refused_unseen(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, content: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    monkeypatch.setenv(f"XUNFEI_{name}_FILE", str(file))
    assert refused().startswith(f"XUNFEI_{name}_FILE holds")
    monkeypatch.delenv(f"XUNFEI_{name}_FILE")
    if "\0" not in content:
        monkeypatch.setenv(f"XUNFEI_{name}", content)
        assert refused().startswith(f"XUNFEI_{name} holds")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("MODE", value) for value in ("v2", "ONLINE", "super")),
        *(("AUE", value) for value in ("mp3", "opus", "RAW")),
        *(("TTE", value) for value in ("utf-8", "latin-1")),
        *(("SAMPLE_RATE", value) for value in ("24000", "44100", "0", "16k")),
        *(("VOLUME", value) for value in ("-0.1", "2.1", "nan", "loud")),
        *(("SPEED", value) for value in ("0.49", "2.1", "nan", "fast")),
        *(("PITCH", value) for value in ("0.4", "2.1", "inf")),
        *(("ATTEMPTS", value) for value in ("0", "21", "1.5")),
        *(
            (f"{name}_S", value)
            for name in ("CONNECT", "IDLE", "TOTAL")
            for value in ("0", "-1", "inf", "nan")
        ),
        *(("URL", value) for value in ("https://host/v2/tts", "wss://", "wss://host", "wss://host/", "host")),
        *(("URL", f"wss://{value}") for value in ("host:port/v2", "host:0/v2", "host/v2?a=1", "host/v2#a")),
        ("URL", "wss://user:hunter2@host/v2/tts"),
        *(
            ("PROXY", value)
            for value in ("socks5://user:hunter2@host:1", "host:3128", "http://user:hunter2", "http://")
        ),
        *(("VOICES", value) for value in ("a,b,a", "=name", "a=A,a=B", ",", " ")),
    ],
)
def test_a_bad_value_is_one_sentence_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"XUNFEI_{name}", value)
    assert refused().startswith(f"XUNFEI_{name}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("XUNFEI_APPID", "XUNFEI_APP_ID"),
        ("XUNFEI_VOICE", "XUNFEI_VOICES"),
        ("xunfei_api_keys", "XUNFEI_API_KEY"),
    ],
)
def test_an_unknown_variable_is_named_with_what_may_be_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert f"{name} is no setting of this process; did you mean {hint}?" in refused()


def test_variables_of_xunfei_do_not_concern_other_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XUNFEI_SOMETHING_ELSE", "x")
    assert load_engine_settings("espeak") is None
    assert load_engine_settings("openai.py:mine") is None


@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("SAMPLE_RATE", "8000", "rate", 8000),
        ("URL", "wss://tts-api-sg.xf-yun.com/v2/tts", "address", "wss://tts-api-sg.xf-yun.com/v2/tts"),
        ("URL", "", "address", "wss://tts-api.xfyun.cn/v2/tts"),
        ("SPEED", "1.149", "speed", 1.149),
        ("VOLUME", "0", "volume", 0.0),
        ("TTE", "GB18030", "tte", "GB18030"),
        ("PROXY", "http://user:pass@proxy:3128", "proxy", "http://user:pass@proxy:3128"),
        ("IDLE_S", "2.5", "idle_s", 2.5),
    ],
)
def test_a_value_is_read(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, read: object
) -> None:
    monkeypatch.setenv(f"XUNFEI_{name}", value)
    assert getattr(loaded(), field) == read
    assert "pass@" not in repr(loaded())
