"""What is told of an engine's exception.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import contextlib
import sys
import traceback

_MAX_CHARACTERS = 1000


def failure(exc: BaseException) -> dict[str, str | None]:
    """Return the error frame of `exc`; its `antiphon_code` names an error that is not the engine's fault."""
    code, param = _text_of(exc, "antiphon_code"), _text_of(exc, "param")
    if code is None:
        log_stack(exc, "the engine")
        return {"code": "engine_failed", "text": described(exc), "param": None}
    return {"code": code, "text": _said(exc), "param": param}


def described(exc: BaseException) -> str:
    """Return the type of `exc` and what it says."""
    return f"{type(exc).__name__}: {_said(exc)}"[:_MAX_CHARACTERS]


def log_stack(exc: BaseException, where: str) -> None:
    """Write down the stack, without the message: that may hold the client's text."""
    with contextlib.suppress(Exception):  # the engine may have closed it
        print(f"{type(exc).__name__} in {where}; most recent call last:", file=sys.stderr)  # noqa: T201
        traceback.print_tb(exc.__traceback__)


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
