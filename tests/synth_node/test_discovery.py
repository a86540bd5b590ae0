"""Service discovery as ADR-32 has it, asked by a raw caller."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import nats.errors
import pytest
from nats.aio.msg import Msg

from tests.synth_node.conftest import (
    FAULTS,
    GUARD_S,
    RawCaller,
    StartNode,
    free,
    running_node,
    settings_of,
    soon,
)


async def answers(raw: RawCaller, subject: str, nodes: set[str]) -> dict[str, dict[str, Any]]:
    """Return the answers of these nodes; others share the server."""
    found: dict[str, dict[str, Any]] = {}

    async def on_reply(msg: Msg) -> None:
        if msg.data:
            answer = json.loads(msg.data)
            assert msg.headers is None
            if answer["id"] in nodes:
                found[answer["id"]] = answer

    inbox = raw.nc.new_inbox()
    subscription = await raw.nc.subscribe(inbox, cb=on_reply)
    await raw.nc.publish(subject, b"", reply=inbox)
    await soon(lambda: set(found) == nodes, f"all answer on {subject}")
    await subscription.unsubscribe()
    return found


@pytest.mark.parametrize("verb", ["PING", "INFO", "STATS"])
async def test_every_verb_is_answered_for_all_for_the_kind_and_for_one(
    start: StartNode, raw: RawCaller, verb: str
) -> None:
    one, two = await start(node="one"), await start(node="two")
    for subject in (f"$SRV.{verb}", f"$SRV.{verb}.synth_node"):
        assert set(await answers(raw, subject, {one.id, two.id})) == {one.id, two.id}
    reply = await raw.nc.request(f"$SRV.{verb}.synth_node.{one.id}", b"", timeout=GUARD_S)
    answer = json.loads(reply.data)
    assert answer["id"] == one.id
    assert answer["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
    assert answer["name"] == "synth_node"
    assert re.fullmatch(r"\d+\.\d+\.\d+", answer["version"]), "semantic, as the standard asks"
    assert answer["metadata"] == {"name": "one", "model": "m"}


async def test_info_lists_the_endpoint(start: StartNode, raw: RawCaller) -> None:
    node = await start()
    info = (await answers(raw, f"$SRV.INFO.synth_node.{node.id}", {node.id}))[node.id]
    assert isinstance(info["description"], str)
    assert info["endpoints"] == [
        {"name": "synth", "subject": raw.subjects.synth("m"), "queue_group": "synth"}
    ]


async def test_stats_count_what_was_done(start: StartNode, raw: RawCaller) -> None:
    node = await start(engine=FAULTS, slots=2)
    subject = f"$SRV.STATS.synth_node.{node.id}"
    before = (await answers(raw, subject, {node.id}))[node.id]
    (endpoint,) = before["endpoints"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", before["started"])
    assert (endpoint["num_requests"], endpoint["num_errors"], endpoint["last_error"]) == (0, 0, "")
    assert (endpoint["processing_time"], endpoint["average_processing_time"]) == (0, 0)
    assert endpoint["data"] == {"slots": 2, "idle": 2, "busy": 0}
    await raw.ask(b"sleep 0.01")
    await raw.ask_when_free(b"raise SECRET-OF-THE-CALLER")
    await free(node)
    after = (await answers(raw, subject, {node.id}))[node.id]
    (endpoint,) = after["endpoints"]
    assert (endpoint["num_requests"], endpoint["num_errors"]) == (2, 1)
    assert endpoint["processing_time"] >= 10_000_000, "in nanoseconds"
    assert endpoint["average_processing_time"] == endpoint["processing_time"]
    assert "engine_failed" in endpoint["last_error"]
    assert "SECRET" not in json.dumps(after), "nothing of a caller's text"
    assert after["started"] == before["started"]


async def test_a_node_that_left_answers_no_more(start: StartNode, raw: RawCaller, nats_url: str) -> None:
    async with running_node(nats_url, settings_of(nats_url, raw.subjects)) as node:
        assert (await raw.nc.request(f"$SRV.PING.synth_node.{node.id}", b"", timeout=GUARD_S)).data
    async with asyncio.timeout(GUARD_S):
        while await answered(raw, f"$SRV.PING.synth_node.{node.id}"):
            pass


async def answered(raw: RawCaller, subject: str) -> bool:
    """Ask once; False if the server says that nobody listens."""
    try:
        await raw.nc.request(subject, b"", timeout=0.5)
    except nats.errors.NoRespondersError:
        return False
    except nats.errors.TimeoutError:
        pass  # it came in the very instant of the end
    return True


async def test_a_question_without_a_reply_subject_is_ignored(start: StartNode, raw: RawCaller) -> None:
    node = await start()
    await raw.nc.publish(f"$SRV.PING.synth_node.{node.id}", b"")
    assert set(await answers(raw, f"$SRV.PING.synth_node.{node.id}", {node.id})) == {node.id}
