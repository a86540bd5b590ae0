from __future__ import annotations

import click
import pytest

from antiphon.cli.engines import Engine, engines_of


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SYNTH_ENGINE", "SYNTH_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_an_engine_is_the_model_that_its_node_says() -> None:
    assert engines_of((), ()) == (Engine("espeak", "espeak"),)
    assert engines_of(["espeak", "my voices/de.py:tts_api"], ()) == (
        Engine("espeak", "espeak"),
        Engine("my voices/de.py:tts_api", "de"),
    )


def test_models_are_named_in_the_order_of_the_engines() -> None:
    assert engines_of(["a.py:Engine", "b.py:Engine"], ["a", "b"]) == (
        Engine("a.py:Engine", "a"),
        Engine("b.py:Engine", "b"),
    )


def test_the_environment_names_one_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTH_ENGINE", "my voices/de.py:tts_api")
    monkeypatch.setenv("SYNTH_MODEL", "german")
    assert engines_of((), ()) == (Engine("my voices/de.py:tts_api", "german"),)
    assert engines_of(["espeak"], ["robot"]) == (Engine("espeak", "robot"),)
    with pytest.raises(click.UsageError, match="SYNTH_MODEL"):
        engines_of(["espeak", "tone"], ())


@pytest.mark.parametrize(
    ("names", "models", "match"),
    [
        (["a.py:Engine", "b.py:Engine"], [], r"cannot be one model \(Engine, Engine\)"),
        (["espeak", "tone"], ["x", "x"], "cannot be one model"),
        (["espeak", "tone"], ["x"], "2 engines and 1 models"),
        (["espeak"], ["a.b"], "--model: 'a.b' is no subject token"),
    ],
)
def test_names_that_do_not_fit_are_one_sentence(names: list[str], models: list[str], match: str) -> None:
    with pytest.raises(click.UsageError, match=match):
        engines_of(names, models)
