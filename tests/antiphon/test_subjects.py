"""Subjects are built from checked tokens only."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.subjects import Subjects, check_token, model_name, service, token_from

SUBJECTS = Subjects()
TOKENS = st.from_regex(r"[A-Za-z0-9_-]{1,128}", fullmatch=True)
BUILDERS: list[Callable[[str], str]] = [
    SUBJECTS.synth,
    SUBJECTS.free,
    lambda token: SUBJECTS.waiting(token, "caller"),
    lambda token: SUBJECTS.waiting("model", token),
    SUBJECTS.cancel,
    SUBJECTS.credit,
    lambda token: SUBJECTS.heartbeat(token, "node"),
    lambda token: SUBJECTS.heartbeat("model", token),
    SUBJECTS.voices,
    lambda token: Subjects(root=token).status,
    service,
    lambda token: service("PING", token),
]


def test_the_subjects_of_the_contract() -> None:
    assert SUBJECTS.synth("espeak") == "tts.synth.espeak"
    assert SUBJECTS.free("espeak") == "tts.free.espeak"
    assert SUBJECTS.waiting("espeak", "c1") == "tts.waiting.espeak.c1"
    assert SUBJECTS.waiting_all == "tts.waiting.*.*"
    assert SUBJECTS.cancel("n1") == "tts.node.n1.cancel"
    assert SUBJECTS.credit("n1") == "tts.node.n1.credit"
    assert SUBJECTS.heartbeat("espeak", "n1") == "tts.heartbeat.espeak.n1"
    assert SUBJECTS.heartbeat_all == "tts.heartbeat.*.*"
    assert SUBJECTS.status == "tts.status"
    assert SUBJECTS.voices("espeak") == "tts.voices.espeak"
    assert service("PING") == "$SRV.PING.synth_node"
    assert service("STATS", "n1") == "$SRV.STATS.synth_node.n1"


def test_a_root_of_its_own_keeps_a_group_apart() -> None:
    other = Subjects(root="tts2")
    ours = {SUBJECTS.synth("m"), SUBJECTS.free("m"), SUBJECTS.status, SUBJECTS.voices("m")}
    theirs = {other.synth("m"), other.free("m"), other.status, other.voices("m")}
    assert ours.isdisjoint(theirs)
    assert all(subject.startswith("tts2.") for subject in theirs)


@pytest.mark.parametrize("build", BUILDERS)
@pytest.mark.parametrize(
    "token",
    ["", "*", ">", "a.b", "a b", "a\r\nPUB b 0", "a\n", "*a", "é", "模型", "$SRV", "a/b", "\x00", " a"],
)
def test_a_wildcard_or_an_empty_token_is_refused(build: Callable[[str], str], token: str) -> None:
    with pytest.raises(ValueError, match="no subject token"):
        build(token)


@given(token=TOKENS)
def test_a_legal_token_is_taken_as_it_is(token: str) -> None:
    assert check_token(token) == token
    assert all(token in build(token).split(".") for build in BUILDERS)


@given(text=st.text())
def test_any_text_can_be_made_a_token(text: str) -> None:
    token = token_from(text)
    assert check_token(token) == token
    assert token_from(token) == token or token.strip("-") == ""


@pytest.mark.parametrize(
    ("text", "token"),
    [("my voice", "my-voice"), ("a.b.c", "a-b-c"), ("模型", "model"), ("", "model"), ("_x-1_", "_x-1_")],
)
def test_the_token_of_a_name_reads_like_the_name(text: str, token: str) -> None:
    assert token_from(text) == token


def test_every_builder_is_checked_here() -> None:
    methods = {name for name in vars(Subjects) if re.fullmatch("[a-z][a-z_]+", name)} - {"root"}
    assert methods == {
        *("synth", "free", "waiting", "waiting_all", "cancel", "credit"),
        *("heartbeat", "heartbeat_all", "status", "voices"),
    }


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        ("espeak", "espeak"),
        ("voices.de:Anna", "Anna"),
        ("my_models.fast:tts_api", "fast"),
        ("models/my tts.py:tts_api", "my-tts"),
        ("/models/piper.py:speak", "speak"),
    ],
)
def test_the_model_is_named_after_the_last_part_of_the_engine(engine: str, name: str) -> None:
    assert model_name(engine) == name
