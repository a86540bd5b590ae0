"""Finds an engine that is named `module:attribute` or `path.py:attribute`.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from .failure import log_all, reason


class NotFound(Exception):
    """There is no such engine; a sentence that says why."""


def find(spec: str) -> Any:
    """Import what `spec` names. Raises NotFound."""
    module_name, colon, attribute = spec.rpartition(":")
    if not colon and spec.endswith(".py"):
        raise NotFound(
            f"engine {spec!r} lacks the function or class in that file: {spec}:tts_api, for example"
        )
    if not (colon and module_name and attribute):
        forms = "neither module:attribute nor path.py:attribute, nor an engine that comes with Antiphon"
        raise NotFound(f"engine {spec!r} is {forms}")
    target: Any = _import(module_name)
    for part in attribute.split("."):
        try:
            target = getattr(target, part)
        except AttributeError:
            raise NotFound(f"{module_name} has no {attribute!r}") from None
    return target


def _import(name: str) -> ModuleType:
    try:
        if not name.endswith(".py"):
            return importlib.import_module(name)
        if not os.path.isfile(name):
            raise NotFound(f"there is no file {name}")
        path = os.path.abspath(name)
        sys.path.insert(1, os.path.dirname(path))  # what lies beside the file can be imported by it
        stem = os.path.basename(path)[:-3]
        spec = importlib.util.spec_from_file_location(stem, path)
        if spec is None or spec.loader is None:
            raise NotFound(f"{name} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(stem, module)  # pickle and dataclasses look a module up by its name
        spec.loader.exec_module(module)
        return module
    except NotFound:
        raise
    except ModuleNotFoundError as exc:
        if exc.name is not None and (name == exc.name or name.startswith(exc.name + ".")):
            raise NotFound(f"there is no module {name!r} (looked beside {os.getcwd()})") from exc
        raise NotFound(f"{name} needs the module {exc.name!r}, which is not installed") from exc
    except SyntaxError as exc:
        where = name if exc.filename is None else os.path.relpath(exc.filename)
        raise NotFound(f"{where} has a syntax error in line {exc.lineno}: {exc.msg}") from exc
    except (Exception, SystemExit) as exc:
        if not isinstance(exc, SystemExit):
            log_all(exc)
        advice = ""
        if name.endswith(".py") and "attempted relative import" in str(exc):
            advice = "; name it package.module:attribute, in the folder that the package lies in"
        raise NotFound(f"{name} cannot be imported: {reason(exc)}{advice}") from exc
