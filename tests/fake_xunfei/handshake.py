"""The signed handshake: which query the gateway lets in, and how it refuses the others. Pure."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal
from urllib.parse import parse_qs

from tests.fake_xunfei.apps import App

WINDOW_S: Final = 300
_DATE_FORMAT: Final = "%a, %d %b %Y %H:%M:%S"
_PAIR: Final = r'([a-z_]+)="([^"]*)"'
_PAIRS: Final = re.compile(rf"{_PAIR}(, ?{_PAIR})*")

UnknownKey = Literal["apikey_not_found", "bad_authorization", "no_credential"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP answer instead of the upgrade; below 500 its body is a JSON object with `message` alone."""

    status: int
    message: str

    @property
    def body(self) -> str:
        """What the client reads."""
        if self.status >= 500:
            return f"<html><body><h1>{self.status} {self.message}</h1></body></html>"
        return json.dumps({"message": self.message})


REFUSALS: Final[dict[str, Refusal]] = {
    "unauthorized": Refusal(401, "Unauthorized"),
    "clock": Refusal(
        403,
        "HMAC signature cannot be verified, "
        "a valid date or x-date header is required for HMAC Authentication",
    ),
    "bad_authorization": Refusal(401, "HMAC signature cannot be verified"),
    "apikey_not_found": Refusal(401, "HMAC signature cannot be verified: apikey not found"),
    "no_credential": Refusal(401, "HMAC signature cannot be verified: fail to retrieve credential"),
    "host_not_signed": Refusal(
        401, "HMAC signature cannot be verified:enforced header 'host' not used for signature creation"
    ),
    "signature": Refusal(401, "HMAC signature does not match"),
    "ip_address": Refusal(403, "Your IP address is not allowed"),
    "service": Refusal(403, "you are not allowed to access this service"),
    "path": Refusal(404, "not found"),
    "upgrade": Refusal(400, "Bad Request"),
    "500": Refusal(500, "Internal Server Error"),
    "502": Refusal(502, "Bad Gateway"),
    "503": Refusal(503, "Service Temporarily Unavailable"),
    "504": Refusal(504, "Gateway Time-out"),
}


@dataclass(frozen=True, slots=True)
class Guard:
    """What lets a query in.

    paths: those that exist. unknown_key: which of the three known texts answers a key that nobody has.
    strict_host: the signed host must be the one in the Host header, port included.
    """

    apps: Collection[App]
    paths: Collection[str]
    unknown_key: UnknownKey = "apikey_not_found"
    strict_host: bool = False

    def admit(self, target: str, host_header: str | None, now: float) -> App | Refusal:
        """Return the app whose key signed the request, or why it is refused; the order is the gateway's.

        target: path and query as they were sent. now: Unix time in seconds.
        """
        path, _, query = target.partition("?")
        if path not in self.paths:
            return REFUSALS["path"]
        parameters = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if not parameters.get("authorization"):
            return REFUSALS["unauthorized"]
        date = parameters.get("date", "")
        if not _in_window(date, now):
            return REFUSALS["clock"]
        fields = parse_authorization(parameters["authorization"])
        if fields is None:
            return REFUSALS["bad_authorization"]
        app = next((app for app in self.apps if app.api_key == fields["api_key"]), None)
        if app is None:
            return REFUSALS[self.unknown_key]
        host = parameters.get("host", "")
        expected = signature(app.api_secret, [f"host: {host}", f"date: {date}", f"GET {path} HTTP/1.1"])
        if not hmac.compare_digest(expected, fields["signature"].encode()):
            return REFUSALS["signature"]
        if self.strict_host and host != host_header:
            return REFUSALS["signature"]
        return app


def _in_window(date: str, now: float) -> bool:
    """Return whether `date` is an RFC 1123 date of GMT or UTC within the window around `now`."""
    stamp, _, zone = date.rpartition(" ")
    try:
        parsed = datetime.strptime(stamp, _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return False
    # The parser takes any day of the week and numbers without their zero; the form has one spelling alone.
    well_formed = parsed.strftime(_DATE_FORMAT) == stamp and zone in ("GMT", "UTC")
    return well_formed and abs(now - parsed.timestamp()) <= WINDOW_S


def parse_authorization(encoded: str) -> dict[str, str] | None:
    """Return the four fields, or None unless all are there, once, and acceptable."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    if not _PAIRS.fullmatch(text):
        return None
    pairs: list[tuple[str, str]] = re.findall(_PAIR, text)
    fields = dict(pairs)
    acceptable = (
        len(pairs) == len(fields)
        and fields.keys() == {"api_key", "algorithm", "headers", "signature"}
        and fields["algorithm"] == "hmac-sha256"
        and fields["headers"] == "host date request-line"
        and len(fields["signature"]) == 44
    )
    return fields if acceptable else None


def signature(secret: str, lines: Iterable[str]) -> bytes:
    """Return the base64 text of the HMAC of the lines, joined by LF without a last one."""
    return base64.b64encode(hmac.digest(secret.encode(), "\n".join(lines).encode(), hashlib.sha256))
