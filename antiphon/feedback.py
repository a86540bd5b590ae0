"""The stream protocol: what the caller of one run sends back. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from antiphon.errors import MalformedMessage
from antiphon.wire import decode_map, encode_map


@dataclass(frozen=True, slots=True)
class Credit:
    """The caller has consumed `bytes` more bytes of a run's audio, `total` since its beginning.

    A total is right even if an earlier credit was lost; None from a caller that sends none.
    """

    run: str
    bytes: int
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """The caller wants no more of a run."""

    run: str


def encode_credit(credit: Credit) -> bytes:
    """Return {run, bytes, total}."""
    return encode_map({"run": credit.run, "bytes": credit.bytes, "total": credit.total})


def decode_credit(data: bytes) -> Credit:
    """Read {run, bytes} and perhaps total. Raises MalformedMessage."""
    values = decode_map(data)
    run, n_bytes = values.get("run"), values.get("bytes")
    if not isinstance(run, str) or not isinstance(n_bytes, int) or isinstance(n_bytes, bool) or n_bytes < 0:
        raise MalformedMessage("a credit is {run, bytes}")
    total = values.get("total")
    if total is not None and (not isinstance(total, int) or isinstance(total, bool) or total < 0):
        raise MalformedMessage("a credit's total is a number of bytes")
    return Credit(run, n_bytes, total)


def encode_cancel(cancel: Cancel) -> bytes:
    """Return {run}."""
    return encode_map({"run": cancel.run})


def decode_cancel(data: bytes) -> Cancel:
    """Read {run}. Raises MalformedMessage."""
    run = decode_map(data).get("run")
    if not isinstance(run, str):
        raise MalformedMessage("a cancel is {run}")
    return Cancel(run)
