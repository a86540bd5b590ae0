"""python -m gateway: HTTP in, NATS out, until SIGTERM."""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Final

import structlog
import uvloop

from antiphon import connect
from antiphon.errors import NotConnected
from antiphon.logs import configure_logging
from antiphon.process import say, settle_memory, stop_on_signals
from antiphon.settings import SettingsError, load
from antiphon.subjects import Subjects
from antiphon.ticket import Limits
from gateway.app import make_app
from gateway.config import GatewaySettings
from gateway.link import Link
from gateway.server import MAX_REFUSALS, CannotListen, listening

FAILED: Final = 1
BAD_SETTING: Final = 2
_OTHER_FILES: Final = 64
_log: Final = structlog.get_logger("gateway")


def main() -> int:
    """Run the gateway; return the exit status: 0 drained, 1 no address or no NATS, 2 a bad setting."""
    status = 0
    try:
        settings = load(GatewaySettings)
        configure_logging(settings.log_level, settings.log_format)
        _allow_open_files(settings.max_connections + MAX_REFUSALS + _OTHER_FILES)
        settle_memory()
        uvloop.run(run(settings))
    except* SettingsError as group:
        say(group)
        status = BAD_SETTING
    except* (CannotListen, NotConnected) as group:
        say(group)
        status = FAILED
    return status


async def run(settings: GatewaySettings) -> None:
    """Listen, connect and serve until a signal; HTTP is answered while NATS is not reached yet.

    Raises:
        SettingsError: the file of NATS_URL_FILE cannot be read.
        CannotListen: the address cannot be had.
        NotConnected: NATS refused the credentials, or the connection is closed for good.
    """
    stop = stop_on_signals()
    link = Link()
    async with listening(make_app(link, settings), settings) as http:
        _log.info("listening", url=http.url)
        async with asyncio.TaskGroup() as tasks:
            speaking = tasks.create_task(keep_connected(link, settings), name="speak")
            await stop.wait()
            _log.info("draining", grace_s=settings.grace_s)
            await http.drain()
            speaking.cancel()
    _log.info("stopped")


async def keep_connected(link: Link, settings: GatewaySettings) -> None:
    """Keep `link` connected. Raises NotConnected when that cannot be, or can be no longer."""
    try:
        async with connect(
            settings.nats_urls,
            name="gateway",
            default_model=settings.model,
            subjects=Subjects(settings.tts_root),
            limits=Limits(max_waiting=settings.max_waiting, max_waiting_bytes=settings.max_waiting_bytes),
            within_s=None,
            ca_file=settings.nats_ca_file,
            inbox_prefix=settings.nats_inbox_prefix,
        ) as client:
            _log.info("connected to NATS")
            link.set(client)
            await client.connection.closed.wait()
    finally:
        link.set(None)
    raise NotConnected("the NATS connection is closed for good")


def _allow_open_files(n: int) -> None:
    """Raise the limit of open files as far as `n` needs and the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reachable = n if hard == resource.RLIM_INFINITY else min(n, hard)
    if soft != resource.RLIM_INFINITY and soft < reachable:
        resource.setrlimit(resource.RLIMIT_NOFILE, (reachable, hard))
    if reachable < n:
        _log.warning("fewer files may be open than GATEWAY_MAX_CONNECTIONS needs", limit=hard, needs=n)


if __name__ == "__main__":
    sys.exit(main())
