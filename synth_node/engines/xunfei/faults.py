"""What Xunfei's refusals mean, by code; its messages differ from gateway to gateway. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final

from synth_node.network.trouble import Trouble, clean

_DAY_LIMIT_S: Final = 600.0
_BAD_PARAMETER: Final = 10163
_VOICE_PARAMETER: Final = "vcn"
"""What 10163 names as the parameter at fault; the one place where a message counts beside its code."""
_WINDOW_S: Final = 300
"""Seconds that a clock may differ from the service's."""
_PAUSE_S: Final = 30.0


class Kind(Enum):
    """What is to be done about a fault."""

    TRANSIENT = "try again on a new connection"
    UNREACHABLE = "no connection came about: try again, then wait until a probe succeeds"
    BUSY = "too much at once: try again later, and offer fewer slots"
    SETTINGS = "nothing works until the settings, the account or the clock change"
    VOICE = "the voice, or all of the service, is not authorised"
    REQUEST = "the text is at fault"
    REFUSED = "the service will not, and would not the next time"


class Fault(Trouble):
    """A refusal or a failure of Xunfei's; what it means to a caller depends on the request, too.

    code: Xunfei's own, None if the fault is the transport's. pause_s: for Kind.SETTINGS and Kind.VOICE, in
    seconds.
    """

    def __init__(
        self, kind: Kind, text: str, *, words: str = "", code: int | None = None, pause_s: float = _PAUSE_S
    ) -> None:
        super().__init__(text, words)
        self.kind = kind
        self.code = code
        self.pause_s = pause_s


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: Kind
    text: str = ""
    pause_s: float = _PAUSE_S


_APP: Final = "XUNFEI_APP_ID"
_SECRET: Final = "XUNFEI_API_SECRET is not the one of XUNFEI_API_KEY"
_SETTINGS: Final = {
    10005: _Meaning(
        Kind.SETTINGS, f"the app of {_APP} may not use this service; switch it on in the console"
    ),
    10105: _Meaning(Kind.SETTINGS, f"the app of {_APP} is not let in: is this machine on its IP list?"),
    10313: _Meaning(Kind.SETTINGS, f"{_APP} is not the app that XUNFEI_API_KEY belongs to"),
    11201: _Meaning(Kind.SETTINGS, f"the daily limit of the app of {_APP} is used up", _DAY_LIMIT_S),
}
_OTHERS: Final = {
    10109: _Meaning(Kind.REQUEST, "the length of the text is not allowed"),
    11200: _Meaning(Kind.VOICE, f"the app of {_APP} may not use this voice, or its quota is used up"),
    **dict.fromkeys((10010, 10110, 10223), _Meaning(Kind.BUSY, "the service has no room")),
    11202: _Meaning(Kind.BUSY, "too many requests in a second"),
    11203: _Meaning(Kind.BUSY, "too many requests at the same time"),
}
_TRANSIENT: Final = frozenset(
    {10003, 10014, 10019, 10031, 10044, 10047, 10050, 10114, 10118, 10164, 10200, 10202, 10222, 10225}
    | {10240, 10250, 10324, 10700, 11345, 11502, 11503, 12000, 26006, *range(100001, 100011)}
)
MEANINGS: Final = {
    **_SETTINGS,
    **_OTHERS,
    **dict.fromkeys(_TRANSIENT, _Meaning(Kind.TRANSIENT, "the service failed")),
}
"""Code to meaning; one that is not here is a refusal, and not tried again: each try may be billed.

Source: error tables of the online and super-human TTS pages at xfyun.cn, and what clients have reported.
"""


def fault_of(code: int, message: str, sid: str, *secrets: str) -> Fault:
    """Return what an answer with a code other than 0 means, in a text without `secrets`.

    sid: the session's name, for the support.
    """
    meaning = MEANINGS.get(code, _Meaning(Kind.REFUSED, "the service refused the request"))
    if code == _BAD_PARAMETER and _VOICE_PARAMETER in message:
        meaning = _Meaning(Kind.VOICE, "the service does not know this voice")
    detail = f"Xunfei {code}{f', session {clean(sid, *secrets)}' if sid else ''}"
    return Fault(
        meaning.kind,
        f"{meaning.text} ({detail})",
        words=clean(message, *secrets),
        code=code,
        pause_s=meaning.pause_s,
    )


def handshake_fault(status: int, body: bytes, *secrets: str, server_date: str | None, now: float) -> Fault:
    """Return what it means that the server did not open the connection, in a text without `secrets`.

    body: JSON with a `message`, whatever its content type. server_date: the answer's Date header.
    now: Unix time in seconds.
    """
    try:
        message = clean(json.loads(body)["message"], *secrets)
    except (ValueError, KeyError, TypeError, RecursionError):
        message = ""
    detail = f"(HTTP {status}{f', {message!r}' if message else ''})"
    if status == 401:
        unknown = "cannot be verified" in message
        name = "XUNFEI_API_KEY is not known to the service" if unknown else _SECRET
        return Fault(Kind.SETTINGS, f"{name} {detail}")
    if status == 403 and "date" in message:
        return Fault(Kind.SETTINGS, f"{_clock(server_date, now)}: set it {detail}")
    if status == 403:
        text = f"the app of {_APP} is not let in from here: look at its IP list and services in the console"
        return Fault(Kind.SETTINGS, f"{text} {detail}")
    if status == 429:
        return Fault(Kind.BUSY, f"too many connections {detail}")
    if status < 500:
        return Fault(Kind.SETTINGS, f"XUNFEI_URL is not the address of this service {detail}")
    return Fault(Kind.UNREACHABLE, f"the service did not open the connection {detail}")


def _clock(server_date: str | None, now: float) -> str:
    try:
        skew_s = now - parsedate_to_datetime(server_date or "").timestamp()
    except (ValueError, TypeError, OverflowError):
        skew_s = 0.0
    if abs(skew_s) < _WINDOW_S:  # whoever wrote that date is not whoever checked ours
        return f"this machine's clock is wrong by more than {_WINDOW_S} s"
    way = "ahead of" if skew_s > 0 else "behind"
    return f"this machine's clock is {abs(skew_s):.0f} s {way} the service's, which takes {_WINDOW_S} s"
