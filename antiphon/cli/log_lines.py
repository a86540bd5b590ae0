"""Log lines of the processes that `antiphon up` runs, made readable. No I/O."""

from __future__ import annotations

import json
import re
from typing import Final

# Said already by the prefix of the line, or of no use to a person who watches.
_DROPPED: Final = ("event", "level", "logger", "timestamp", "exception")
_QUIET_LEVELS: Final = ("info", "debug")
_NATS_LINE: Final = re.compile(r"\[\d+\] \[(\w+)\] +(.*)")
_NATS_QUIET: Final = ("INF", "DBG", "TRC")


def of_service(line: str) -> str | None:
    """Return a structured line as `text key=value ...`, a warning or an error with its level before it.

    Any other line is returned as it is; None for an empty one.
    """
    try:
        fields = json.loads(line)
    except ValueError:
        return line or None
    if not isinstance(fields, dict) or "event" not in fields:
        return line
    level = fields.get("level", "info")
    text = str(fields["event"]) if level in _QUIET_LEVELS else f"{level}: {fields['event']}"
    shown = [text, *(f"{key}={_value(value)}" for key, value in fields.items() if key not in _DROPPED)]
    exception = fields.get("exception")
    return " ".join(shown) + (f"\n{exception}" if exception else "")


def of_nats(line: str) -> str | None:
    """Return a warning or an error of nats-server; None for what just tells that all is well."""
    found = _NATS_LINE.fullmatch(line)
    if found is None:
        return line or None
    level, text = found.groups()
    return None if level in _NATS_QUIET else text


def _value(value: object) -> str:
    """Return a value as short as it stays unambiguous."""
    if isinstance(value, str) and value and not re.search(r'[\s"=]', value):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False)
