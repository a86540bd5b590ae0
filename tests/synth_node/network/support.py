"""Listening to an engine behind the network."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from synth_node.host import EngineRequest
from synth_node.network.engine import NetworkEngine

TEXT: Final = "One sentence for the service. 你好，世界。"


async def spoken(engine: NetworkEngine, text: str = TEXT, **request: Any) -> bytes:
    """Return all of the audio."""
    async with aclosing(engine.speak(EngineRequest(text, **request))) as pieces:
        return b"".join([piece async for piece in pieces])


async def until_failed(engine: NetworkEngine, text: str = TEXT, **request: Any) -> tuple[bytes, Exception]:
    """Return the audio that came before the failure, and that failure."""
    heard = bytearray()
    try:
        async with aclosing(engine.speak(EngineRequest(text, **request))) as pieces:
            async for piece in pieces:
                heard += piece
    except Exception as exc:
        return bytes(heard), exc
    raise AssertionError("it did not fail")
