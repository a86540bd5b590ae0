"""`python -m synth_node` with the engine: why it ends, and what its log holds."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import pytest

from antiphon.client import TtsClient
from antiphon.errors import EngineFailed, SpeechError
from antiphon.subjects import Subjects
from tests.conftest import ROOT, node_environment, until_ready
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import FakeXunfei
from tests.synth_node.conftest import GUARD_S

Start = Callable[..., Any]
TEXT = "Long enough for some frames of audio, one after the other."
WAV_HEAD = 44


async def spoken(client: TtsClient, text: str = TEXT, **options: Any) -> bytes:
    return await client.speak(text, model="xunfei", timeout_s=GUARD_S, **options)


def environment(nats_url: str, subjects: Subjects, fake: FakeXunfei, **changes: str) -> dict[str, str]:
    clean = {
        name: value
        for name, value in node_environment(nats_url, subjects, engine="xunfei", slots=2).items()
        if not name.startswith("XUNFEI_")
    }
    app = fake.app
    return {
        **clean,
        "LOG_LEVEL": "debug",
        "XUNFEI_URL": fake.url,
        "XUNFEI_APP_ID": app.app_id,
        "XUNFEI_API_KEY": app.api_key,
        "XUNFEI_API_SECRET": app.api_secret,
        **changes,
    }


async def begun(environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "synth_node"),
        env=environment,
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"XUNFEI_API_SECRET": "another"}, "XUNFEI_API_SECRET"),
        ({"XUNFEI_API_KEY": "another"}, "XUNFEI_API_KEY"),
        ({"XUNFEI_API_KEY": ""}, "XUNFEI_API_KEY"),
        ({"XUNFEI_APPID": "app"}, "XUNFEI_APPID is no setting of this process; did you mean XUNFEI_APP_ID?"),
    ],
)
async def test_a_node_with_wrong_settings_says_so_and_ends(
    nats_url: str, subjects: Subjects, fake: FakeXunfei, changes: dict[str, str], words: str
) -> None:
    process = await begun(environment(nats_url, subjects, fake, **changes))
    async with asyncio.timeout(GUARD_S):
        _, errors = await process.communicate()
    said = errors.decode()
    assert process.returncode == 2, said
    assert words in said.splitlines()[-1]
    assert "Traceback" not in said
    assert fake.app.api_secret not in said
    assert "authorization=" not in said


async def test_a_nodes_log_holds_no_secret_and_no_text(
    nats_url: str, subjects: Subjects, fake: FakeXunfei, client: TtsClient
) -> None:
    process = await begun(environment(nats_url, subjects, fake))
    assert process.stderr is not None
    try:
        await until_ready(client)
        assert await spoken(client, "VERY PRIVATE words.")
        for scenario in (Scenario.GARBAGE, Scenario.EARLY_CLOSE):
            fake.next(scenario)
            assert await spoken(client, "VERY PRIVATE words.")
        fake.next(Scenario.ERROR, code=10163)
        with pytest.raises(EngineFailed):
            await spoken(client, "VERY PRIVATE words.")
        fake.always(Scenario.ERROR, code=10313)
        with pytest.raises(SpeechError):
            await client.speak("VERY PRIVATE words.", model="xunfei", timeout_s=2)
    finally:
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(GUARD_S):
            _, errors = await process.communicate()
    log = errors.decode()
    assert process.returncode == 0, log
    assert "XUNFEI_APP_ID is not the app that XUNFEI_API_KEY belongs to" in log
    for secret in (fake.app.api_secret, fake.app.api_key, "authorization=", "YXBpX2tleT0", "PRIVATE"):
        assert secret not in log
    assert "Traceback" not in log
    assert not os.environ.get("XUNFEI_API_SECRET")
