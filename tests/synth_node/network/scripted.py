"""An engine behind the network, without a network: it does what each text says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Self

from antiphon.errors import EngineFailed
from antiphon.heartbeat import Voice
from synth_node.engine_info import EngineInfo
from synth_node.host import EngineRequest
from synth_node.network.throttle import Throttle

PIECE = bytes(range(256)) * 16


class Engine:
    """Does what the text says: `<n>` gives so many pieces, `hang` none, `fail` and `break` raise."""

    def __init__(self, throttle: Throttle) -> None:
        self.throttle = throttle
        self.probes: list[Exception | None] = []
        self.requests: list[EngineRequest] = []
        self.n_pieces = 0
        self.n_open = 0

    @property
    def info(self) -> EngineInfo:
        voices = (Voice("anna", "Anna", "de"), Voice("ben", "Ben", "en"))
        return EngineInfo("scripted", 16_000, voices, 0.0, aliases={"alloy": "ben"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self.n_open == 0, "what was begun is over"

    async def probe(self) -> None:
        if self.probes and (failure := self.probes.pop(0)) is not None:
            raise failure

    async def speak(self, request: EngineRequest) -> AsyncGenerator[bytes, None]:
        self.requests.append(request)
        self.n_open += 1
        try:
            async with self.throttle.turn():
                match request.text:
                    case "hang":
                        await asyncio.Event().wait()
                    case "fail":
                        yield PIECE
                        raise EngineFailed("it did not want to")
                    case "break":
                        raise KeyError("secret")
                for _ in range(int(request.text)):
                    self.n_pieces += 1
                    yield PIECE
        finally:
            self.n_open -= 1
