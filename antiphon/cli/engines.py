"""The engines that `antiphon up` is to start, and the models that they are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from antiphon.subjects import check_token, model_name

DEFAULT_ENGINE: Final = "espeak"


@dataclass(frozen=True, slots=True)
class Engine:
    """One engine as it is named in the settings, and the name of its model."""

    name: str
    model: str


def engines_of(names: Sequence[str], models: Sequence[str]) -> tuple[Engine, ...]:
    """Return the engines of `--engine`, with their models of `--model` or their own; else the environment's.

    Raises:
        click.UsageError: the names do not fit together.
    """
    names = names or [os.environ.get("SYNTH_ENGINE") or DEFAULT_ENGINE]
    if not models and (model := os.environ.get("SYNTH_MODEL")):
        models = [model]
    if models and len(models) != len(names):
        raise click.UsageError(
            f"there are {len(names)} engines and {len(models)} models: "
            "give --model (or SYNTH_MODEL) once for each --engine, in the same order, or not at all."
        )
    try:
        models = [check_token(model) for model in models] or [model_name(name) for name in names]
    except ValueError as exc:
        raise click.UsageError(f"--model: {exc}.") from None
    if len(set(models)) < len(models):
        raise click.UsageError(
            f"two engines cannot be one model ({', '.join(models)}): "
            "name each with --model, once for each --engine, in the same order."
        )
    return tuple(Engine(name, model) for name, model in zip(names, models, strict=True))
