"""A real gateway, asked whatever its own description lets a fuzzer think of: it answers as described."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import requests
import schemathesis
from schemathesis import Case, Config

from gateway.openapi import describe

if TYPE_CHECKING:
    from tests.gateway.conftest import Group

MAX_CHARACTERS: Final = 24
N_EXAMPLES: Final = 20
GUARD_S: Final = 20.0
FITS_THE_SCHEMA_BUT: Final = {
    *(("invalid_request", "text"), ("nothing_to_speak", "text")),  # blank, or without a letter
    *(("invalid_request", "input"), ("nothing_to_speak", "input")),
    ("text_too_long", "text"),  # a list whose texts are too long together
    ("invalid_request", "sample_rate"),  # most formats have only some rates
    ("invalid_request", "input_type"),  # the tone speaks no SSML
}
"""What no schema can say: 400 for a request that fits its own."""
ANSWERS: Final = ["2xx", "400", "404", "405", "413", "415", "426", "503"]
"""503 is for a model that has no nodes, 426 for a GET where a WebSocket is."""
SETTINGS: Final = {
    "generation": {"deterministic": True, "max-examples": N_EXAMPLES},
    "checks": {
        "not_a_server_error": {"expected-statuses": ANSWERS},
        "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "404", "426"]},
        "negative_data_rejection": {"expected-statuses": ANSWERS[1:]},
    },
}


def narrowed() -> dict[str, Any]:
    """Return the description with the names of this group, so that most requests are spoken."""
    description = describe(max_characters=MAX_CHARACTERS, wants_key=False)
    known = description["components"]["schemas"]
    known["Speech"]["properties"] |= {
        "voice": {"enum": ["a3", "a4", None]},
        "model": {"enum": ["tone", None]},
    }
    known["OpenAISpeech"]["properties"]["voice"] = {"enum": ["a4", "alloy", {"id": "nova"}, None]}
    return description


DESCRIPTION = schemathesis.openapi.from_dict(narrowed(), config=Config.from_dict(SETTINGS))


@pytest.fixture(scope="module")
def gateway_url(group: Group, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A process that listens; in the end its log must tell of no fault."""
    log = tmp_path_factory.mktemp("gateway") / "log"
    others = {k: v for k, v in os.environ.items() if not k.startswith(("GATEWAY_", "NATS_", "TTS_", "LOG_"))}
    settings = {
        **{"GATEWAY_PORT": "0", "GATEWAY_MODEL": "tone", "LOG_FORMAT": "json"},
        **{"GATEWAY_MAX_TEXT_CHARACTERS": str(MAX_CHARACTERS), "GATEWAY_MAX_BODY_BYTES": "20000"},
        **{"NATS_URL": group.nats_url, "TTS_ROOT": group.subjects.root},
    }
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway"], env={**others, **settings}, stderr=stderr
        )
    try:
        url = _until_ready(process, log)
        yield url
    finally:
        process.terminate()
        assert process.wait(GUARD_S) == 0
    assert "unexpected error" not in log.read_text()


def _until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + GUARD_S
    url = ""
    while not (url and requests.get(f"{url}/readyz", timeout=GUARD_S).ok):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        logged = [
            json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")
        ]
        url = next((line["url"] for line in logged if line["event"] == "listening"), "")
        time.sleep(0.02)
    return url


@DESCRIPTION.parametrize()
def test_every_answer_is_as_described(case: Case[Any], gateway_url: str) -> None:
    response = case.call_and_validate(base_url=gateway_url)
    assert case.meta is not None
    if case.meta.generation.mode.is_positive and response.status_code == 400:
        error = response.json()["error"]
        assert (error["code"], error["param"]) in FITS_THE_SCHEMA_BUT, error
