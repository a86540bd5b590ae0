"""What is told of an engine's exception.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import sys
import traceback


def failure(exc: Exception) -> dict[str, str | None]:
    """Return the error frame of `exc`; its `antiphon_code` names an error that is not the engine's fault."""
    code = getattr(exc, "antiphon_code", None)
    if code is None:
        log_stack(exc, "the engine")
        return {"code": "engine_failed", "text": f"{type(exc).__name__}: {exc}"[:1000], "param": None}
    return {"code": code, "text": str(exc)[:1000], "param": getattr(exc, "param", None)}


def log_stack(exc: Exception, where: str) -> None:
    """Write down the stack, without the message: that may hold the client's text."""
    print(f"{type(exc).__name__} in {where}; most recent call last:", file=sys.stderr)  # noqa: T201
    traceback.print_tb(exc.__traceback__)
