"""`antiphon voices`, and `antiphon up` with two models."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from antiphon.cli.voices import table
from tests.cli.conftest import Up

if TYPE_CHECKING:
    from tests.cli.conftest import Join

Antiphon = Callable[..., "subprocess.CompletedProcess[bytes]"]
ANY_PORTS = ("--port", "0", "--nats-port", "0", "--nodes", "1")


@pytest.fixture(scope="module")
def two() -> Iterator[Up]:
    """One `antiphon up` with two models, of which the first is the default one."""
    up = Up("--engine", "tone", "--engine", "espeak", *ANY_PORTS)
    try:
        yield up.ready()
    finally:
        up.end()


def models_of(up: Up) -> set[str]:
    return {voice["model"] for voice in up.get("/v1/audio/voices")["voices"]}


def until_ready(up: Up, *models: str) -> None:
    """Wait until these models have told their voices."""
    deadline = time.monotonic() + 30
    while not set(models) <= models_of(up):
        assert time.monotonic() < deadline, models_of(up)


def post(up: Up, **values: Any) -> dict[str, Any]:
    """Return the JSON answer of POST /tts."""
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    body = json.dumps({"text": "hello", **values}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{up.http}/tts", body, headers), timeout=30) as reply:
        return dict(json.load(reply))


def test_one_command_starts_two_models(two: Up) -> None:
    until_ready(two, "tone", "espeak")
    assert models_of(two) == {"tone", "espeak"}
    assert "2 nodes x 1 slot, engines tone, espeak" in two.output
    assert 'antiphon say "hello" -o hello.mp3 --model tone --nats' in two.output
    assert f"antiphon voices --nats {two.nats}" in two.output
    assert post(two)["model"] == "tone", "the first is the default one"
    assert post(two, voice="de")["model"] == "espeak"
    assert post(two, model="espeak")["model"] == "espeak"
    assert post(two, voice="a4")["model"] == "tone"


def test_say_speaks_with_the_model_of_the_voice(two: Up, antiphon: Antiphon) -> None:
    until_ready(two, "tone", "espeak")
    spoken = antiphon("say", "hello", "--nats", two.nats, "--voice", "a5")
    assert (spoken.returncode, bool(spoken.stdout)) == (0, True)
    unsaid = antiphon("say", "hello", "--nats", two.nats)
    assert (unsaid.returncode, unsaid.stderr) == (1, b"Error: Name a model: there are espeak and tone.\n")


def test_voices_are_listed_with_their_models(two: Up, antiphon: Antiphon) -> None:
    until_ready(two, "tone", "espeak")
    done = antiphon("voices", "--nats", two.nats)
    assert (done.returncode, done.stderr) == (0, b"")
    head, *lines = done.stdout.decode().splitlines()
    assert head.split() == ["id", "name", "language", "model"]
    assert next(line.split() for line in lines if line.endswith(" tone")) == ["a4", "440", "Hz", "tone"]
    assert {line.split()[-1] for line in lines} == {"tone", "espeak"}
    of_tone = antiphon("voices", "--nats", two.nats, "--model", "tone", "--json")
    values = json.loads(of_tone.stdout)
    assert values["voices"][0] == {"id": "a4", "name": "440 Hz", "language": "", "model": "tone"}
    assert values["missing"] == []
    over_http = two.get("/v1/audio/voices")["voices"]
    assert [voice for voice in over_http if voice["id"] == "a4"] == values["voices"][:1]


def test_a_model_that_nobody_has_is_one_sentence(two: Up, antiphon: Antiphon) -> None:
    done = antiphon("voices", "--nats", two.nats, "--model", "nobody")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (1, b"", 1)
    assert b"nobody" in done.stderr


def test_a_model_may_join_later(up: Up, join: Join) -> None:
    assert post(up)["model"] == "tone"
    join("--nats", up.nats, "--model", "second")
    until_ready(up, "second")
    assert post(up)["model"] == "tone", "nothing changes for who names no model"
    assert post(up, model="second")["model"] == "second"


def test_a_table_has_its_cells_below_one_another() -> None:
    rows = [["x4_yezi", "讯飞小露", "zh"], ["a", "b\x1b[31m", ""]]
    assert list(table(("id", "name", "l"), rows)) == [
        "id       name      l",
        "x4_yezi  讯飞小露  zh",
        "a        b\N{REPLACEMENT CHARACTER}[31m",
    ]
