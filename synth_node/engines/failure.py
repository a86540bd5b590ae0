"""What is told of an engine's exception.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from types import TracebackType

from .pieces import WrongType

_MAX_CHARACTERS = 1000
_HERE = os.path.dirname(os.path.abspath(__file__))
_NOT_THEIRS = (
    _HERE,
    os.path.join(os.path.dirname(_HERE), "process", "child.py"),
    importlib.__file__,
    "<frozen ",
)
"""Beginnings of the files whose code stands between us and the engine's."""


def failure(exc: BaseException) -> dict[str, str | None]:
    """Return the error frame of `exc`; its `antiphon_code` names an error that is not the engine's fault."""
    code, param = _text_of(exc, "antiphon_code"), _text_of(exc, "param")
    if code is None:
        log_stack(exc, "the engine")
        return {"code": "engine_failed", "text": described(exc), "param": None}
    return {"code": code, "text": _said(exc), "param": param}


def described(exc: BaseException) -> str:
    """Return the type of `exc` and what it says; of what we raise ourselves only that."""
    if isinstance(exc, WrongType):
        return str(exc)
    return f"{type(exc).__name__}: {_said(exc)}"[:_MAX_CHARACTERS]


def reason(exc: BaseException) -> str:
    """Return the same in one line, for an engine that cannot be started."""
    return " ".join(described(exc).split())[:500]


def log_stack(exc: BaseException, where: str) -> None:
    """Write down the stack, without the message: that may hold the client's text."""
    with contextlib.suppress(Exception):  # the engine may have closed it
        if isinstance(exc, WrongType):  # ours, with no text in it; the stack shows nothing of the engine
            print(f"in {where}: {exc}", file=sys.stderr)  # noqa: T201
            return
        print(f"{type(exc).__name__} in {where}; most recent call last:", file=sys.stderr)  # noqa: T201
        traceback.print_tb(_theirs(exc.__traceback__))


def log_all(exc: BaseException) -> None:
    """Write down the stack and the message, before any client has sent a text."""
    with contextlib.suppress(Exception):
        traceback.print_exception(type(exc), exc, _theirs(exc.__traceback__))


def _theirs(stack: TracebackType | None) -> TracebackType | None:
    """Return the stack from the engine's first line on; all of it for an engine of ours."""
    inner = stack
    while inner is not None and inner.tb_frame.f_code.co_filename.startswith(_NOT_THEIRS):
        inner = inner.tb_next
    return inner or stack


def _said(exc: BaseException) -> str:
    try:
        text = str(exc)
    except Exception:
        return "(it cannot say what)"
    return text[:_MAX_CHARACTERS].encode(errors="replace").decode()


def _text_of(exc: BaseException, name: str) -> str | None:
    """Return an attribute that is a text; what an engine raises may have any, and any way to get it."""
    try:
        value = getattr(exc, name, None)
    except Exception:
        return None
    return value if isinstance(value, str) else None
