"""Variables that differ from slot to slot, such as which GPU an engine is to use."""

from __future__ import annotations

import re
import shlex
from typing import Final

_ENTRY: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"\{\w*\}")


def read_slot_env(text: str) -> dict[str, list[str]]:
    """Read entries NAME=VALUE, written and quoted as before a command of a shell.

    A value is one for all slots, or several with | between them, which are dealt to the slots in turn.

    Raises:
        ValueError: an entry is wrong; a sentence that names it.
    """
    try:
        entries = shlex.split(text)
    except ValueError as exc:
        raise ValueError(f"the quotes do not match ({exc})") from None
    variables: dict[str, list[str]] = {}
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        if found is None:
            raise ValueError(f"{entry!r} is not NAME=VALUE")
        name, value = found.groups()
        if name in variables:
            raise ValueError(f"{name} is given twice; several values for it have a | between them")
        for placeholder in _PLACEHOLDER.findall(value):
            if placeholder != "{slot}":
                raise ValueError(f"{name} has {placeholder} in its value; only {{slot}} is known")
        variables[name] = value.split("|")
    return variables


def env_of_slot(text: str, slot: int) -> dict[str, str]:
    """Return the variables of one slot, counted from 0; `text` is one that `read_slot_env` takes."""
    return {
        name: values[slot % len(values)].replace("{slot}", str(slot))
        for name, values in read_slot_env(text).items()
    }
