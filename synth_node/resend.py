"""A plain request that its slot could not speak: sent to the group again, the answer passed on."""

from __future__ import annotations

import asyncio
from typing import Final

import nats.errors
import structlog
from nats.aio.msg import Msg

from antiphon.connection import Connection
from antiphon.errors import AllSlotsBusy, Draining, EngineCrashed
from antiphon.inbox import Inboxes, is_no_responders
from antiphon.request import ATTEMPT, BUDGET_MS, Envelope
from synth_node.delivery import Delivery

_HEADER_ROOM: Final = 256
_log: Final = structlog.get_logger("synth_node")


async def send_again(
    connection: Connection,
    inboxes: Inboxes,
    subject: str,
    msg: Msg,
    envelope: Envelope,
    delivery: Delivery,
    *,
    deadline: float,
) -> None:
    """Have another slot answer `msg`, trying until `deadline` on the loop's clock while all are busy.

    The answer comes here first: only the sender of a request learns that there are no responders.
    """
    loop = asyncio.get_running_loop()
    pause_s = 0.05
    n_header_bytes = sum(len(name) + len(value) + 4 for name, value in (msg.headers or {}).items())
    if len(msg.data) + n_header_bytes + _HEADER_ROOM > connection.nc.max_payload:
        # A message over the limit would end the connection, and with it all that runs here.
        await delivery.fail(EngineCrashed("the engine crashed; the request is too large to be sent again"))
        return
    try:
        async with asyncio.timeout_at(deadline):
            while True:
                headers = {
                    **(msg.headers or {}),
                    ATTEMPT: str(envelope.attempt + 1),
                    BUDGET_MS: str(max(0, round((deadline - loop.time()) * 1000))),
                }
                reply = await _ask(connection, inboxes, subject, msg.data, headers)
                if not is_no_responders(reply):
                    await connection.nc.publish(msg.reply, reply.data, headers=reply.headers)
                    return
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 1.0)
    except TimeoutError:
        await delivery.fail(AllSlotsBusy("this slot could not speak it, and no other answered in time"))
    except asyncio.CancelledError:
        await delivery.fail(
            Draining("this slot could not speak it, and the node left before another answered")
        )
        raise
    except nats.errors.Error as exc:
        _log.warning("request lost", id=envelope.id, error=str(exc))


async def _ask(
    connection: Connection, inboxes: Inboxes, subject: str, payload: bytes, headers: dict[str, str]
) -> Msg:
    answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
    token = inboxes.open(lambda msg: None if answer.done() else answer.set_result(msg))
    try:
        await connection.nc.publish(subject, payload, reply=inboxes.subject(token), headers=headers)
        return await answer
    finally:
        inboxes.close(token)
