"""Command lines as templates: what a program is given for one text. Standard library only, no I/O."""

from __future__ import annotations

import os
import re
import shlex
import string
from typing import Any

from .user import Refused

SPEEDS = frozenset({"speed", "percent", "length_scale", "wpm"})
PLACEHOLDERS = frozenset({"text", "voice", "output"}) | SPEEDS
NORMAL_WORDS_PER_MINUTE = 175
MAX_ARGUMENT_BYTES = 128 * 1024 - 1
"""Linux takes 32 pages for one argument and the NUL behind it."""
_SEPARATES = re.compile(r"[\s'\"`]")
"""What makes several words of one argument, for whoever takes it apart."""
_INTERPRETER = re.compile(r"(a|ba|da|fi|k|z)?sh|python[\d.]*|perl|php|ruby|node|lua|osascript")
_SCRIPT_OPTION = re.compile(r"-[A-Za-z]*[ceEr]|--eval")


def split_command(command: str) -> list[str]:
    """Split a command as a shell would, but without one; each part is a template.

    Raises:
        ValueError: it cannot be split, has an unknown placeholder, or would run a text; a sentence says it.
    """
    try:
        parts = shlex.split(command)
    except ValueError as exc:
        raise ValueError(f"it cannot be split: {str(exc).lower()}") from None
    if not parts:
        raise ValueError("it names no program")
    for part in parts:
        try:
            fields = list(string.Formatter().parse(part))
        except ValueError:
            raise ValueError(
                f"{part!r} has an unbalanced brace; write {{{{ or }}}} for a literal one"
            ) from None
        for _, field, form, conversion in fields:
            if field is not None and (field not in PLACEHOLDERS or form or conversion):
                known = ", ".join(f"{{{name}}}" for name in sorted(PLACEHOLDERS))
                raise ValueError(f"{part!r} has a placeholder that is not known; there are {known}")
    if placeholders(parts[:1]):
        raise ValueError("the program itself cannot be a placeholder")
    _check_scripts(parts)
    return parts


def _check_scripts(parts: list[str]) -> None:
    """Refuse a text within a script that stands in the command: it would be run.

    An argument with words of its own around the placeholder is taken for a script. The interpreters are for
    what cannot be told by that: a script that is nothing but the placeholder, and ssh, whose other end puts
    its arguments together for a shell.
    """
    for i, part in enumerate(parts):
        given = placeholders([part]) & {"text", "voice"}
        before = part.partition("{")[0] or parts[i - 1]
        if given and (
            any(_SEPARATES.search(literal) for literal, *_ in string.Formatter().parse(part))
            or (_SCRIPT_OPTION.fullmatch(before) and _is_of_interpreter(parts[:i]))
            or ("text" in given and "ssh" in map(os.path.basename, parts[:i]))
        ):
            raise ValueError(
                f"what a caller writes could be run as a part of {part!r}; let the program read its standard "
                "input, or hand the placeholder to a script as an argument: sh -c '... \"$1\"' sh {text}"
            )


def _is_of_interpreter(parts: list[str]) -> bool:
    """Tell whether an option behind these parts is an interpreter's own, not one of what it runs."""
    program = [parts[0], *(part for part in parts[1:] if not part.startswith("-"))][-1]
    return _INTERPRETER.fullmatch(os.path.basename(program)) is not None


def placeholders(parts: list[str]) -> set[str]:
    """Return the placeholders that occur in templates."""
    return {field for part in parts for _, field, _, _ in string.Formatter().parse(part) if field}


def fill(parts: list[str], *, text: str, voice: str | None, speed: float, output: str | None) -> list[bytes]:
    """Return the arguments for one text. Raises Refused if it is too long for one."""
    values = {
        "text": text,
        "voice": voice,
        "speed": f"{speed:g}",
        "percent": round(100 * speed),
        "length_scale": f"{1 / speed:.4g}",
        "wpm": round(NORMAL_WORDS_PER_MINUTE * speed),
        "output": output,
    }
    return [_argument(part, values) for part in parts]


def _argument(template: str, values: dict[str, Any]) -> bytes:
    filled = template.format(**values)
    if template.startswith("{text}") and filled.startswith("-"):
        filled = f" {filled}"  # the text of a caller must not be an option
    argument = filled.encode("utf-8", "surrogateescape")
    if len(argument) > MAX_ARGUMENT_BYTES:
        limit = f"{MAX_ARGUMENT_BYTES} bytes can be given to a program as an argument"
        raise Refused("text_too_long", f"the text is too long: {limit}", "text")
    return argument
