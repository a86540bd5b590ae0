"""python -m synth_node: one node of the group, until SIGTERM."""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import structlog
import uvloop

from antiphon.background import background
from antiphon.connection import Connection, connected
from antiphon.errors import NotConnected
from antiphon.inbox import inboxes
from antiphon.logs import configure_logging
from antiphon.process import say, settle_memory, stop_on_signals
from antiphon.settings import SettingsError, load
from synth_node.built_in import all_settings_classes, load_engine_settings
from synth_node.config import SynthSettings
from synth_node.engine_settings import EngineSettings, check_default_voice
from synth_node.host import EngineUnavailable
from synth_node.node import SynthNode

BAD_SETTING: Final = 2
FAILED: Final = 1
_log: Final = structlog.get_logger("synth_node")


def main() -> int:
    """Run the node; return the exit status: 0 drained, 1 lost NATS, 2 a bad setting or engine."""
    status = 0
    try:
        settings = load(SynthSettings, *all_settings_classes())
        engine_settings = load_engine_settings(settings.engine)
        check_default_voice(settings.voice, engine_settings)
        configure_logging(settings.log_level, settings.log_format)
        settle_memory()
        uvloop.run(run(settings, engine_settings))
    except* (SettingsError, EngineUnavailable) as group:
        say(group)
        status = BAD_SETTING
    except* NotConnected as group:
        say(group)
        status = FAILED
    return status


async def run(settings: SynthSettings, engine_settings: EngineSettings | None) -> None:
    """Join the group and serve until the first SIGTERM or SIGINT; a second one ends the process at once.

    Raises:
        EngineUnavailable: the engine cannot be started at all.
        NotConnected: NATS refused the credentials, or the connection is closed for good.
    """
    stop = stop_on_signals()
    joined = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(serve(settings, engine_settings, stop, joined), name="serve")
        await stop.wait()
        if not joined.is_set():
            serving.cancel()  # there is no group yet that one could leave
    _log.info("left")


async def serve(
    settings: SynthSettings,
    engine_settings: EngineSettings | None,
    stop: asyncio.Event,
    joined: asyncio.Event,
) -> None:
    """Connect, however long that takes, and be a node until `stop`. joined: set once the node can drain."""
    async with (
        connected(
            settings.nats_urls,
            name=f"synth_node {settings.node or ''}".strip(),
            ca_file=settings.nats_ca_file,
            inbox_prefix=settings.nats_inbox_prefix,
        ) as connection,
        inboxes(connection) as boxes,
        background() as spawn,
    ):
        spawn(_watch(connection), "watch the connection")
        joined.set()
        await SynthNode(connection, boxes, spawn, settings, engine_settings).run(stop)


async def _watch(connection: Connection) -> None:
    await connection.closed.wait()
    raise NotConnected("the NATS connection is closed for good")


if __name__ == "__main__":
    sys.exit(main())
