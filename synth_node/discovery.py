"""NATS service discovery: `$SRV.PING`, `$SRV.INFO` and `$SRV.STATS`, so that the `nats` tool lists the nodes.

Source: ADR-32, NATS Service API. Spoken directly: nats-py's own micro endpoints answer one request at a time
from an unbounded queue, which is what this project is there to avoid.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from nats.aio.msg import Msg

from antiphon.connection import Connection
from antiphon.subjects import SERVICE_NAME, SYNTH_QUEUE, service


class Discovery:
    """Answers for one node.

    stats: returns the endpoint's num_requests, num_errors, processing_time and average_processing_time (both
    in nanoseconds), last_error and data.
    """

    def __init__(
        self,
        node: str,
        *,
        version: str,
        subject: str,
        metadata: dict[str, str],
        stats: Callable[[], dict[str, Any]],
    ) -> None:
        self._identity = {"name": SERVICE_NAME, "id": node, "version": version, "metadata": metadata}
        self._node = node
        self._subject = subject
        self._stats = stats
        self._started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    async def serve(self, connection: Connection) -> None:
        """Subscribe to all three verbs: for everyone, for this kind of service, and for this node."""
        for verb, answer in (("PING", self.ping), ("INFO", self.info), ("STATS", self.stats)):
            await self._subscribe(connection, verb, answer)

    async def _subscribe(
        self, connection: Connection, verb: str, answer: Callable[[], dict[str, Any]]
    ) -> None:
        async def on_request(msg: Msg) -> None:
            if msg.reply:
                await connection.nc.publish(msg.reply, json.dumps(answer()).encode())

        await connection.established()
        for subject in (f"$SRV.{verb}", service(verb), service(verb, self._node)):
            await connection.nc.subscribe(subject, cb=on_request)

    def ping(self) -> dict[str, Any]:
        """Return the answer to PING."""
        return {"type": "io.nats.micro.v1.ping_response", **self._identity}

    def info(self) -> dict[str, Any]:
        """Return the answer to INFO."""
        return {
            "type": "io.nats.micro.v1.info_response",
            **self._identity,
            "description": "Text in, audio out",
            "endpoints": [self._endpoint],
        }

    def stats(self) -> dict[str, Any]:
        """Return the answer to STATS."""
        return {
            "type": "io.nats.micro.v1.stats_response",
            **self._identity,
            "started": self._started,
            "endpoints": [{**self._endpoint, **self._stats()}],
        }

    @property
    def _endpoint(self) -> dict[str, Any]:
        return {"name": "synth", "subject": self._subject, "queue_group": SYNTH_QUEUE}
