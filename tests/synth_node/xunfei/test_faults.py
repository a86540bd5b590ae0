"""What refusals mean, by code and by how the handshake ended."""

from __future__ import annotations

import json
from email.utils import formatdate

import pytest

from synth_node.engines.xunfei.faults import MEANINGS, Kind, fault_of, handshake_fault
from tests.fake_xunfei.handshake import REFUSALS

NOW = 1_736_150_950.0

# From the documents' tables, written down once more: what is to be done about each code.
KINDS = {
    Kind.BUSY: {10010, 10110, 10223, 11202, 11203},
    Kind.SETTINGS: {10005, 10105, 10313, 11201},
    Kind.VOICE: {11200},
    Kind.REQUEST: {10109},
    Kind.REFUSED: {
        *(10006, 10007, 10009, 10043, 10101, 10106, 10107, 10139, 10160, 10161, 10163, 10165, 10317, 10404),
        *(13001, 26005, 99999, -1, 1),
    },
    Kind.TRANSIENT: {
        *(10003, 10014, 10019, 10031, 10044, 10047, 10050, 10114, 10118, 10164, 10200, 10202, 10222, 10225),
        *(10240, 10250, 10324, 10700, 11345, 11502, 11503, 12000, 26006, 100001, 100005, 100010),
    },
}


@pytest.mark.parametrize(("kind", "code"), [(kind, code) for kind, codes in KINDS.items() for code in codes])
def test_a_code_says_what_is_to_be_done_whatever_its_message(kind: Kind, code: int) -> None:
    for message in ("", "success", "licc failed", "time out", "appid"):
        assert fault_of(code, message, "tts1").kind is kind


def test_no_code_has_a_meaning_that_is_not_written_down_here() -> None:
    known = {code for codes in KINDS.values() for code in codes} | set(range(100001, 100011))
    assert set(MEANINGS) <= known


def test_a_refused_parameter_may_be_the_voice() -> None:
    assert (
        fault_of(10163, "parameter schema validate error: '$.parameter.tts.vcn' ...", "").kind is Kind.VOICE
    )
    assert fault_of(11200, "vcn", "").kind is Kind.VOICE
    assert fault_of(10160, "vcn", "").kind is Kind.REFUSED


def test_a_fault_shows_code_and_session_and_keeps_the_services_words_apart() -> None:
    fault = fault_of(10019, "session\ntimeout " + "x" * 500, "tts000dda37@gz19082e5ea5446c9902")
    assert str(fault) == "the service failed (Xunfei 10019, session tts000dda37@gz19082e5ea5446c9902)"
    assert fault.in_full.startswith(f"{fault}: session timeout xxx")
    assert len(fault.in_full) < 320
    assert fault.code == 10019
    assert fault_of(10019, "", "").in_full == "the service failed (Xunfei 10019)"


@pytest.mark.parametrize(
    ("code", "variable"), [(10005, "APP_ID"), (10105, "APP_ID"), (10313, "API_KEY"), (11200, "APP_ID")]
)
def test_what_the_settings_are_at_fault_for_names_them(code: int, variable: str) -> None:
    assert f"XUNFEI_{variable}" in str(fault_of(code, "", ""))


def test_the_daily_limit_is_waited_for_longer() -> None:
    assert fault_of(11201, "", "").pause_s > fault_of(10313, "", "").pause_s > 0


MEANT = {
    "unauthorized": (Kind.SETTINGS, "XUNFEI_API_SECRET"),
    "clock": (Kind.SETTINGS, "this machine's clock"),
    "bad_authorization": (Kind.SETTINGS, "XUNFEI_API_KEY is not known"),
    "apikey_not_found": (Kind.SETTINGS, "XUNFEI_API_KEY is not known"),
    "no_credential": (Kind.SETTINGS, "XUNFEI_API_KEY is not known"),
    "host_not_signed": (Kind.SETTINGS, "XUNFEI_API_KEY"),
    "signature": (Kind.SETTINGS, "XUNFEI_API_SECRET is not the one"),
    "ip_address": (Kind.SETTINGS, "IP list"),
    "service": (Kind.SETTINGS, "XUNFEI_APP_ID"),
    "path": (Kind.SETTINGS, "XUNFEI_URL"),
    "upgrade": (Kind.SETTINGS, "XUNFEI_URL"),
    "500": (Kind.UNREACHABLE, "HTTP 500"),
    "502": (Kind.UNREACHABLE, "HTTP 502"),
    "503": (Kind.UNREACHABLE, "HTTP 503"),
    "504": (Kind.UNREACHABLE, "HTTP 504"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_handshake_says_what_to_look_at(name: str) -> None:
    refusal = REFUSALS[name]
    kind, words = MEANT[name]
    fault = handshake_fault(refusal.status, refusal.body.encode(), server_date=None, now=NOW)
    assert fault.kind is kind
    assert words in str(fault)
    assert "<html" not in str(fault)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Kind.SETTINGS),
        (405, Kind.SETTINGS),
        (426, Kind.SETTINGS),
        (429, Kind.BUSY),
        (521, Kind.UNREACHABLE),
    ],
)
def test_other_statuses_too(status: int, kind: Kind) -> None:
    for body in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"message": {"a": 1}}'):
        assert handshake_fault(status, body, server_date=None, now=NOW).kind is kind


@pytest.mark.parametrize(
    ("ahead_s", "words"),
    [
        (1000, "1000 s ahead of the service's"),
        (-86400, "86400 s behind the service's"),
        (10, "wrong by more than 300 s"),
        (None, "wrong by more than 300 s"),
    ],
)
def test_a_clock_that_is_wrong_is_said_plainly(ahead_s: float | None, words: str) -> None:
    refusal = REFUSALS["clock"]
    date = None if ahead_s is None else formatdate(NOW - ahead_s, usegmt=True)
    fault = handshake_fault(refusal.status, refusal.body.encode(), server_date=date, now=NOW)
    assert words in str(fault)
    assert "set it" in str(fault)


@pytest.mark.parametrize("date", ["", "today", "Mon, 06 Jan 2025 99999999999999999999:09:10 GMT"])
def test_a_server_that_does_not_know_the_time_either_breaks_nothing(date: str) -> None:
    body = REFUSALS["clock"].body.encode()
    assert "wrong by more than 300 s" in str(handshake_fault(403, body, server_date=date, now=NOW))


def test_what_a_gateway_says_is_one_bounded_line() -> None:
    body = json.dumps({"message": "a\nb\u2028c" + "x" * 1000}).encode()
    said = str(handshake_fault(503, body, server_date=None, now=NOW))
    assert "a b c" in said
    assert len(said) < 300
