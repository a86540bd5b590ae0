"""The server that the engine speaks through."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.synth_node.openai.support import Server, serving


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch, second_tries_come_soon: None) -> None:
    """No proxy of this machine stands in the way."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One that listens, and answers with samples unless the test says otherwise."""
    async with serving(Server()) as made:
        yield made
