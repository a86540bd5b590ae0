"""What the group and this gateway are doing: GET /check_tts_status, /count, /healthz, /readyz."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from antiphon.errors import NoNodes, NotConnected
from gateway.link import Link


@dataclass(frozen=True, slots=True)
class Status:
    """Reports; nothing here takes a slot."""

    link: Link

    async def check_tts_status(self, _request: web.Request) -> web.Response:
        """The state of every node, asked of the nodes themselves."""
        status = await self.link.client.status()
        return _fresh_json(status.as_dict())

    async def count(self, _request: web.Request) -> web.Response:
        """The number of requests that wait for a slot, over all callers, and nothing else."""
        return web.Response(text=str(self.link.client.waiting()), headers={"Cache-Control": "no-store"})

    async def healthz(self, _request: web.Request) -> web.Response:
        """The process runs."""
        return _fresh_json({"status": "ok"})

    async def readyz(self, _request: web.Request) -> web.Response:
        """Someone can speak now. Raises NotConnected or NoNodes otherwise."""
        client = self.link.client
        if not client.connection.nc.is_connected:
            raise NotConnected("there is no connection to NATS")
        if not client.can_speak():
            raise NoNodes("no node is ready to speak")
        return _fresh_json({"status": "ready"})


def _fresh_json(values: dict[str, Any]) -> web.Response:
    return web.json_response(values, headers={"Cache-Control": "no-store"})
