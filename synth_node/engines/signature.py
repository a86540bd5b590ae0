"""Reads what a user's function can be given.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import inspect
from typing import Any

COMMON_OPTIONS = ("voice", "speed", "format", "sample_rate")
OPTIONS = (*COMMON_OPTIONS, "input_type", "timestamps")


class CannotUse(Exception):
    """It is no engine; a sentence that says why."""


def declared(function: Any, *, ssml: bool, words: bool) -> tuple[list[str], list[str]]:
    """Return the options that a function takes, and those of them that it must be given.

    ssml, words: what it can do. Only then are the options for that among the `**options`.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # not written in Python
        return [], []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in (*positional, inspect.Parameter.VAR_POSITIONAL):
        raise CannotUse(
            f"{getattr(function, '__name__', function)} does not take the text as its first parameter"
        )
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        given = [*COMMON_OPTIONS, *["input_type"] * ssml, *["timestamps"] * words]
        return given, given
    by_name = [
        p
        for p in parameters[1:]
        if p.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    unknown = [p.name for p in by_name if p.name not in OPTIONS and p.default is inspect.Parameter.empty]
    if unknown:
        raise CannotUse(
            f"{getattr(function, '__name__', function)} needs {', '.join(unknown)}; "
            f"it can be given {', '.join(OPTIONS)}"
        )
    known = [p for p in by_name if p.name in OPTIONS]
    return [p.name for p in known], [p.name for p in known if p.default is inspect.Parameter.empty]


def check_takes_one(method: Any, what: str) -> None:
    """Raise CannotUse if `method` cannot be called with one argument. what: that is, for people."""
    try:
        inspect.signature(method).bind(object())
    except TypeError as exc:
        name = getattr(method, "__qualname__", type(method).__name__)  # a partial has none
        raise CannotUse(f"{name} is called with {what} and nothing else: {exc}") from exc
    except ValueError:  # not written in Python
        pass


def form(function: Any) -> str:
    """Return what kind of function it is, for people."""
    if inspect.isasyncgenfunction(function):
        return "async generator"
    if inspect.iscoroutinefunction(function):
        return "async function"
    return "generator" if inspect.isgeneratorfunction(function) else "function"


def interruptible(function: Any) -> bool | None:
    """Tell whether a function can stop between two pieces; None while that is not known."""
    streams = (inspect.isgeneratorfunction, inspect.isasyncgenfunction, inspect.iscoroutinefunction)
    return True if any(is_kind(function) for is_kind in streams) else None
