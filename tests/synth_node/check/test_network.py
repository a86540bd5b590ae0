"""An engine behind the network is checked through the same door."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from synth_node.check.finding import Finding
from synth_node.check.printed import collected
from synth_node.check.run import run
from synth_node.check.wish import Wish
from synth_node.config import SynthSettings
from synth_node.engines.openai.settings import OpenAISettings
from synth_node.host import EngineUnavailable
from tests.synth_node.check.support_check import TEXT, Checked
from tests.synth_node.support_sound import tone

RATE = 24_000


async def speech(request: web.Request) -> web.Response:
    """Speak for as long as a reader would; 60 ms a character."""
    asked = await request.json()
    letter = tone(0.06 / asked.get("speed", 1), RATE, 440 if asked["voice"] == "alloy" else 300)
    return web.Response(body=letter * len(asked["input"]), content_type="audio/pcm")


async def models(_: web.Request) -> web.Response:
    return web.json_response({"data": []})


async def voices(_: web.Request) -> web.Response:
    return web.json_response({"voices": ["alloy", "echo"]})


@asynccontextmanager
async def openai_server() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/audio/speech", speech)
    app.router.add_get("/v1/models", models)
    app.router.add_get("/v1/audio/voices", voices)
    async with TestServer(app) as server:
        yield str(server.make_url("/v1"))


async def checked_at(base_url: str, **settings: float) -> Checked:
    findings: list[Finding] = []
    node = SynthSettings(engine="openai", **settings)  # type: ignore[arg-type]
    with collected() as printed:
        await run(node, OpenAISettings(base_url=base_url), Wish((TEXT,), 2, 20.0), printed, findings.append)
    return Checked(findings, printed)


async def test_a_server_that_speaks_has_no_problem() -> None:
    async with openai_server() as base_url:
        checked = await checked_at(base_url)
    assert checked.problems == []
    assert checked["form"].value == "engine behind the network"
    assert checked["voices"].value == "2 listed, 2 tried"
    assert checked["samples"].value == "16 bit, one channel, 24000 Hz"
    assert not {"start-up", "memory", "close", "second process"} & {each.check for each in checked.findings}


async def test_a_server_that_is_not_there_cannot_be_used() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(EngineUnavailable, match="could not be reached within 0.3 s")):
        await checked_at("http://127.0.0.1:1/v1", start_s=0.3)
