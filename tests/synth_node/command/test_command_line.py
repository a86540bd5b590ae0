"""Command lines as templates, and the settings of the engine `command`: what cannot work is told at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from antiphon.settings import SettingsError
from synth_node.built_in import load_engine_settings
from synth_node.engine_settings import read_voices
from synth_node.engines.command_line import MAX_ARGUMENT_BYTES, fill, split_command
from synth_node.engines.user import Refused

Setting = Callable[..., None]


@pytest.fixture
def setting(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Set variables; of the environment's own none is left that begins with SYNTH_."""
    for name in list(os.environ):
        if name.startswith("SYNTH_"):
            monkeypatch.delenv(name)

    def set_all(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_all


def filled(command: str, text: str = "hello", voice: str | None = None, speed: float = 1.0) -> list[str]:
    parts = split_command(command)
    return [part.decode() for part in fill(parts, text=text, voice=voice, speed=speed, output="/o.wav")]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("say {text}", ["say", "hello"]),
        ("say --text={text} -v {voice}.onnx", ["say", "--text=hello", "-v", "anna.onnx"]),
        ("espeak-ng -v{voice}+f3 -- {text}", ["espeak-ng", "-vanna+f3", "--", "hello"]),
        (
            "sh -c 'say -o {output} -s {wpm} \"$1\"' sh {text}",
            ["sh", "-c", 'say -o /o.wav -s 262 "$1"', "sh", "hello"],
        ),
        ("python3 tts.py -voice {voice} {text}", ["python3", "tts.py", "-voice", "anna", "hello"]),
        ("ssh host 'say -s {wpm}'", ["ssh", "host", "say -s 262"]),
        ("say -s {speed} -r {wpm}", ["say", "-s", "1.5", "-r", "262"]),
        ("say {percent}% {length_scale}", ["say", "150%", "0.6667"]),
        ("say -o {output}", ["say", "-o", "/o.wav"]),
        ("say '{{text}}' \"a b\" '$HOME' '*' '|' '>x'", ["say", "{text}", "a b", "$HOME", "*", "|", ">x"]),
    ],
)
def test_placeholders_are_filled(command: str, arguments: list[str]) -> None:
    assert filled(command, voice="anna", speed=1.5) == arguments


@pytest.mark.parametrize(
    "text", ["$(id) `id` ; | > x & ' \" \\ * ~", "{voice}{text}{0}", "a  b\nc", "@file", "你好 é"]
)
def test_a_text_stays_one_argument(text: str) -> None:
    assert filled("say {text} end", text) == ["say", text, "end"]


def test_a_text_is_never_an_option() -> None:
    assert filled("say {text}", "--version") == ["say", " --version"]
    assert filled("say --text={text}", "-5 °C") == ["say", "--text=-5 °C"]


@pytest.mark.parametrize(
    ("text", "fits"), [("x" * MAX_ARGUMENT_BYTES, True), ("é" * (MAX_ARGUMENT_BYTES // 2 + 1), False)]
)
def test_a_text_that_no_argument_can_hold_is_refused(text: str, fits: bool) -> None:
    if fits:
        assert filled("say {text}", text) == ["say", text]
        return
    with pytest.raises(Refused, match="131071 bytes") as refused:
        filled("say {text}", text)
    assert (refused.value.antiphon_code, refused.value.param) == ("text_too_long", "text")


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("", "needs a program"),
        ("   ", "names no program"),
        ("say 'hello", "cannot be split: no closing quotation"),
        ("say {texts}", r"'\{texts\}' has a placeholder that is not known; there are .*\{text\}"),
        ("say {}", "not known"),
        ("say {text!r}", "not known"),
        ("say {text:>9}", "not known"),
        ("say {text", "unbalanced brace"),
        ("say }", "unbalanced brace"),
        ("{text}", "cannot be a placeholder"),
        ("-c {text}", "no program '-c'"),
        ("antiphon-has-no-such-program {text}", "no program 'antiphon-has-no-such-program'"),
        ("/etc/passwd {text}", "no program '/etc/passwd'"),
        ("sh -c 'echo {text} | cat'", "could be run"),
        ("/bin/sh -ec '{voice}'", "could be run"),
        ("env x=y sh -c 'echo {text}'", "could be run"),
        ("python3 -c 'print(\"{text}\")'", "could be run"),
        ("ssh host 'say {text}'", "could be run"),
        ("ssh host say {text}", "could be run"),
        ("ssh host say --text={text}", "could be run"),
        ("awk 'BEGIN {{{{ print {text} }}}}'", "could be run"),
        ("php -r 'echo \"{text}\";'", "could be run"),
        ("php -r {text}", "could be run"),
        ("osascript -e 'say \"{text}\"'", "could be run"),
        ("xargs -I% sh -c 'say {voice} %'", "could be run"),
        ("sudo sh -c 'say {text}'", "could be run"),
        ("nice bash -c 'say {text}'", "could be run"),
        ("sh -c -- 'say {text}'", "could be run"),
        ("perl -E 'say \"{text}\"'", "could be run"),
        ("perl -E{text}", "could be run"),
        ("nice -n5 bash -x -c {text}", "could be run"),
        ("festival --pipe '(SayText\t{text})'", "could be run"),
        ("say \"'{text}'\"", "could be run"),
        ("say `{text}`", "could be run"),
    ],
)
def test_a_command_that_cannot_work_is_one_sentence(setting: Setting, command: str, sentence: str) -> None:
    setting(SYNTH_COMMAND=command)
    with pytest.raises(SettingsError, match=f"^SYNTH_COMMAND: .*{sentence}") as refused:
        load_engine_settings("command")
    assert "\n" not in str(refused.value)


def test_a_text_may_be_an_argument_of_a_script(setting: Setting) -> None:
    setting(SYNTH_COMMAND="sh -c 'printf %s \"$1\"' sh {text}")
    settings = load_engine_settings("command")
    assert settings is not None
    assert settings.for_engine()["command"] == ["sh", "-c", 'printf %s "$1"', "sh", "{text}"]


def test_a_program_may_lie_anywhere(setting: Setting, tmp_path: Path) -> None:
    program = tmp_path / "my {speaker}"
    setting(SYNTH_COMMAND=f"'{tmp_path}/my {{{{speaker}}}}' {{text}}")
    program.write_text("#!/bin/sh\n")
    with pytest.raises(SettingsError, match="is not executable, or not there"):
        load_engine_settings("command")
    program.chmod(0o755)
    assert load_engine_settings("command") is not None


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("SYNTH_COMMAND_VOICES", "a,b,a", "an id of its own"),
        ("SYNTH_COMMAND_VOICES", "=Anna", "an id of its own"),
        ("SYNTH_COMMAND_VOICES", "-a", "hyphen"),
        ("SYNTH_COMMAND_VOICES", ",", "there is no voice in it"),
        ("SYNTH_COMMAND_VOICES", "a,b", r"no \{voice\} in SYNTH_COMMAND"),
        ("SYNTH_COMMAND_SAMPLE_RATE", "999", "greater than or equal to 1000"),
        ("SYNTH_COMMAND_SAMPLE_RATE", "16k", "valid integer"),
        ("SYNTH_COMMAND_VOICE", "a", "did you mean SYNTH_COMMAND_VOICES"),
    ],
)
def test_a_bad_setting_is_one_sentence(setting: Setting, name: str, value: str, sentence: str) -> None:
    setting(SYNTH_COMMAND="cat", **{name: value})
    with pytest.raises(SettingsError, match=f"^{name}.*{sentence}"):
        load_engine_settings("command")


def test_voices_have_names_and_languages() -> None:
    assert read_voices(" a, b = Ben ,c=Cleo/fr-FR, d=/de,") == [
        ("a", "a", ""),
        ("b", "Ben", ""),
        ("c", "Cleo", "fr-FR"),
        ("d", "d", "de"),
    ]
