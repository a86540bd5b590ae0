"""The client that the documentation shows, and the stream of a real gateway process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import ClientSession

from tests.gateway.support_stream import BYTES_PER_MS, GUARD_S, MS_PER_CHARACTER, PATH, Stream, kinds

if TYPE_CHECKING:
    from tests.gateway.conftest import Group

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-from-a-voice-agent.md"


@asynccontextmanager
async def gateway_process(group: Group) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run `python -m gateway`; yield it and its address once it can speak."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SYNTH_", "GATEWAY_", "NATS_"))}
    own = {"NATS_URL": group.nats_url, "TTS_ROOT": group.subjects.root, "LOG_FORMAT": "json"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway"),
        env={**clean, **own, "GATEWAY_PORT": "0", "GATEWAY_MODEL": "tone"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        async with asyncio.timeout(GUARD_S):
            url = ""
            while not url:
                url = json.loads(await process.stderr.readline()).get("url", "")
            async with ClientSession(url) as http:
                models: dict[str, dict[str, bool]] = {}
                while not all(models.get(model, {}).get("status") for model in ("tone", "scripted")):
                    async with http.get("/check_tts_status") as reply:
                        models = (await reply.json()).get("models", {})
            yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_the_client_of_the_documentation_speaks_what_is_typed(group: Group, tmp_path: Path) -> None:
    client, usage = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    assert len([line for line in client.splitlines() if line]) <= 20
    async with gateway_process(group) as (_, url):
        usage = usage.replace("http://127.0.0.1:8080", url).replace("voice=en-us", "voice=a3")
        agent = tmp_path / "agent.py"
        agent.write_text(client + usage)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-u", str(agent)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(GUARD_S):
            process.stdin.write(b"This is heard. And this\n")
            first = await process.stdout.readexactly(len("This is heard.") * MS_PER_CHARACTER * BYTES_PER_MS)
            process.stdin.write(b"comes later.")
            process.stdin.write_eof()
            rest = await process.stdout.read()
            assert await process.wait() == 0
        assert any(first)
        assert len(rest) == len("And this\ncomes later.") * MS_PER_CHARACTER * BYTES_PER_MS


async def test_sigterm_lets_a_stream_finish(group: Group, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with (
        gateway_process(group) as (process, url),
        ClientSession(url) as http,
        http.ws_connect(PATH, params={"model": "scripted"}) as ws,
    ):
        stream = Stream(ws)
        await stream.say(text=f"until {gate}", flush=True)
        await stream.until("segment_started")
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        async with asyncio.timeout(GUARD_S):
            while json.loads(await process.stderr.readline())["event"] != "draining":
                pass
        gate.touch()
        marks, _ = await stream.rest()
        assert (kinds(marks), stream.close_code) == (["segment_finished", "flushed"], 1001)
        async with asyncio.timeout(GUARD_S):
            assert await process.wait() == 0


async def test_two_real_gateways_and_a_cancel(group: Group, tmp_path: Path) -> None:
    """What one gateway's client cancels, another gateway's client can have at once."""
    async with (
        gateway_process(group) as (_, left_url),
        gateway_process(group) as (_, right_url),
        ClientSession() as http,
        http.ws_connect(left_url + PATH, params={"model": "scripted"}) as left_ws,
        http.ws_connect(right_url + PATH, params={"model": "scripted"}) as right_ws,
    ):
        left, right = Stream(left_ws), Stream(right_ws)
        await left.say(text=f"until {tmp_path / 'never'}", flush=True)
        await left.until("segment_started")
        await right.say(text="my turn", flush=True)
        await left.say(cancel=True)
        await left.until("cancelled")
        marks, audio = await right.until("flushed")
        assert (kinds(marks)[:2], len(audio)) == (
            ["segment_started", "segment_finished"],
            2000 * BYTES_PER_MS,
        )
