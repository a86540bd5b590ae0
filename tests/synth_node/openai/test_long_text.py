"""A long text, and a server that has to rest before it speaks all of it; with a whole node, over NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import pytest
from pydantic import SecretStr

from antiphon.client import TtsClient
from antiphon.subjects import Subjects
from synth_node.engines.openai.settings import OpenAISettings
from synth_node.network import attempts
from tests.synth_node.conftest import RawCaller, running_node, settings_of
from tests.synth_node.openai.support import KEY, Server, fails, speaks

TEXT: Final = " ".join(
    f"This is sentence number {n} of a text that is too long for one segment." for n in range(9)
)


@pytest.fixture
async def node(
    nats_url: str, subjects: Subjects, server: Server, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """One whose server speaks the first segment, and wants a rest before the second."""
    monkeypatch.setattr(attempts, "MAX_WAIT_S", 0.0)
    server.answers.extend([speaks, fails(429, Retry_After_Ms="10")])
    engine = OpenAISettings(base_url=server.url, api_key=SecretStr(KEY))
    async with running_node(nats_url, settings_of(nats_url, subjects, engine="openai"), engine):
        yield


def is_made_once(server: Server) -> bool:
    """Tell whether only what was refused was asked for twice."""
    first, refused, *rest = [asked.body["input"] for asked in server.asked]
    return rest[0] == refused and " ".join([first, *rest]) == TEXT


@pytest.mark.usefixtures("node")
@pytest.mark.parametrize("format", ["mp3", "flac"])
async def test_what_has_been_spoken_is_not_asked_for_again(
    server: Server, client: TtsClient, format: str
) -> None:
    assert await client.speak(TEXT, model="m", format=format)
    assert is_made_once(server)


@pytest.mark.usefixtures("node")
async def test_a_plain_reply_is_not_made_anew(server: Server, raw: RawCaller) -> None:
    assert (await raw.ask(TEXT.encode())).data
    assert is_made_once(server)
