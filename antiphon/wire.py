"""Reading and writing msgpack maps strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgpack

from antiphon.errors import MalformedMessage


def require(value: object, types: type | tuple[type, ...], name: str) -> None:
    """Raise TypeError unless `value` is of one of `types`; True is no number here."""
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        raise TypeError(f"{name} is {type(value).__name__}")


def encode_map(values: Mapping[str, object]) -> bytes:
    """Return a msgpack map."""
    return bytes(msgpack.packb(dict(values)))


def decode_map(data: bytes) -> dict[str, Any]:
    """Read a msgpack map whose keys are strings. Raises MalformedMessage."""
    try:
        values = msgpack.unpackb(data)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as exc:
        raise MalformedMessage(f"{len(data)} bytes are no map: {exc!r}") from exc
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise MalformedMessage("not a map with string keys")
    return values


def known_fields(cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of `values` the dataclass `cls` knows: newer versions may send more."""
    names = {f.name for f in fields(cls)}
    return {key: value for key, value in values.items() if key in names}
