"""Who lives and how busy they are: order and expiry of heartbeats, forecasts against a simulation."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import cluster as cluster_module
from antiphon.cluster import MISSED_HEARTBEATS, Cluster, Seen, group_status
from antiphon.heartbeat import Heartbeat, Running, Waiting

NOW = 1000.0
NOTHING = Waiting(0, 0)


def beat(node: str = "n1", **changes: Any) -> Heartbeat:
    values: dict[str, Any] = {
        **{"name": node, "boot": 1.0, "seq": 1, "model": "m", "state": "ready", "slots": 1, "idle": 1},
        **{"busy": 0, "seconds_per_character": 0.1},
    }
    return Heartbeat(node=node, **{**values, **changes})


def heard(*beats: Heartbeat, at: float = NOW) -> Cluster:
    cluster = Cluster()
    for each in beats:
        cluster.heard(each, at)
    return cluster


def names(cluster: Cluster, now: float = NOW, model: str | None = None) -> list[str]:
    return [seen.heartbeat.node for seen in cluster.nodes(now, model)]


def test_nodes_are_listed_by_name_and_by_model() -> None:
    cluster = heard(beat("x", name="b"), beat("y", name="a"), beat("z", name="b", model="other"))
    assert names(cluster) == ["y", "x", "z"]
    assert names(cluster, model="m") == ["y", "x"]
    assert names(cluster, model="none") == []


def test_a_node_that_misses_three_heartbeats_is_gone() -> None:
    cluster = heard(beat("quick", interval_s=1.0), beat("slow", interval_s=2.0))
    last = NOW + MISSED_HEARTBEATS * 1.0
    assert names(cluster, last - 0.001) == ["quick", "slow"]
    assert names(cluster, last) == ["slow"]
    assert not cluster.has_nodes("m", NOW + MISSED_HEARTBEATS * 2.0)
    cluster.heard(beat("quick", seq=2), last + 1)
    assert names(cluster, last + 1) == ["quick", "slow"]


def test_a_model_pauses_when_all_of_its_nodes_do() -> None:
    paused = beat("n1", paused="no route")
    assert heard(paused).paused_for("m", NOW) == "no route"
    assert heard(paused, beat("n2", paused="no key")).paused_for("m", NOW) in ("no route", "no key")
    assert heard(paused, beat("n2")).paused_for("m", NOW) == ""
    assert heard(paused, beat("n2", model="other")).paused_for("m", NOW) == "no route"
    assert heard(paused, beat("n2")).paused_for("none", NOW) == ""
    assert heard(paused).paused_for("m", NOW + MISSED_HEARTBEATS) == ""


def test_while_all_nodes_pause_the_forecast_is_the_end_of_the_first_pause() -> None:
    long, short = beat("n1", idle=0, paused="no key", pause_s=600.0), beat("n2", paused="busy", pause_s=30.0)
    assert heard(long).forecast("m", NOTHING, NOW) == 600.0
    assert heard(long, short).forecast("m", NOTHING, NOW + 2) == 28.0
    assert heard(beat(paused="no route")).forecast("m", NOTHING, NOW + 1) == 0.0
    assert heard(long, beat("n3")).forecast("m", NOTHING, NOW) == 0.0
    assert heard(beat(paused="no key", pause_s=1e300)).forecast("m", NOTHING, NOW) == 86_400.0


def test_has_nodes_does_not_wait_for_anybody_to_list_them() -> None:
    cluster = heard(beat())
    assert cluster.has_nodes("m", NOW)
    assert not cluster.has_nodes("other", NOW)
    assert not cluster.has_nodes("m", NOW + 3)
    assert cluster.was_seen("m")
    assert not cluster.was_seen("other")


@given(order=st.permutations([1, 2, 3, 4]))
def test_a_heartbeat_that_comes_late_changes_nothing(order: list[int]) -> None:
    cluster = heard(*(beat(seq=seq, busy=seq) for seq in order))
    assert [seen.heartbeat.seq for seen in cluster.nodes(NOW)] == [4]


def test_a_node_that_says_good_bye_is_gone_at_once() -> None:
    cluster = heard(beat("n1"), beat("n2"))
    cluster.heard(beat("n1", seq=2, state="left"), NOW)
    assert names(cluster) == ["n2"]
    assert cluster.was_seen("m")


def test_a_good_bye_of_somebody_unknown_is_nothing() -> None:
    cluster = heard(beat(state="left"))
    assert names(cluster) == []
    assert not cluster.was_seen("m")


def test_a_node_that_starts_again_has_a_new_address() -> None:
    cluster = heard(beat("n-1", name="n", seq=900), beat("n-2", name="n", seq=1))
    assert names(cluster) == ["n-1", "n-2"]
    assert names(cluster, NOW) == ["n-1", "n-2"]


def test_the_models_are_those_that_live() -> None:
    cluster = heard(beat("b", model="bass"), beat("a", model="alto", interval_s=0.1))
    assert cluster.models(NOW) == ["alto", "bass"]
    assert cluster.models(NOW + 1) == ["bass"]
    assert cluster.models(NOW + 10) == []


def test_a_model_that_is_leaving_counts_only_while_there_is_no_other() -> None:
    cluster = heard(beat("a", model="alto", state="draining"))
    assert cluster.models(NOW) == ["alto"]
    cluster.heard(beat("b", model="bass", state="starting"), NOW)
    assert cluster.models(NOW) == ["bass"]
    cluster.heard(beat("a2", model="alto"), NOW)
    assert cluster.models(NOW) == ["alto", "bass"]


def test_the_models_that_are_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_MAX_MODELS", 3)
    cluster = Cluster()
    for number in range(10):
        cluster.heard(beat("real", seq=number), NOW)
        cluster.heard(beat("liar", seq=number, model=f"made-up-{number}"), NOW)
    assert [cluster.was_seen(f"made-up-{number}") for number in (0, 7, 8, 9)] == [False, False, True, True]
    assert cluster.was_seen("m"), "what lives is not forgotten"


def test_a_model_is_ready_when_one_of_its_nodes_is() -> None:
    cluster = heard(beat("a", state="starting"), beat("b", model="bass", interval_s=0.1))
    assert not cluster.is_ready("m", NOW)
    cluster.heard(beat("c"), NOW)
    assert cluster.is_ready("m", NOW)
    assert cluster.is_ready("bass", NOW)
    assert not cluster.is_ready("bass", NOW + 1)


def test_what_waits_is_summed_until_it_expires() -> None:
    cluster = Cluster()
    cluster.heard_waiting("m", "c1", Waiting(2, 20), NOW)
    cluster.heard_waiting("m", "c2", Waiting(1, 5), NOW + 1)
    cluster.heard_waiting("other", "c1", Waiting(4, 40), NOW + 1)
    assert cluster.waiting(NOW + 1) == Waiting(7, 65)
    assert cluster.waiting(NOW + 1, "m") == Waiting(3, 25)
    assert cluster.waiting(NOW + 1, "m", without="c1") == Waiting(1, 5)
    assert cluster.waiting(NOW + 1, without="c1") == Waiting(1, 5)
    assert cluster.waiting(NOW + 3.5, "m") == Waiting(1, 5)
    cluster.heard_waiting("m", "c2", Waiting(0, 0), NOW + 3.5)
    assert cluster.waiting(NOW + 3.5, "m") == NOTHING
    assert cluster.waiting(NOW + 60) == NOTHING


def test_without_a_measurement_or_a_node_there_is_no_forecast() -> None:
    assert Cluster().forecast("m", NOTHING, NOW) is None
    assert heard(beat(seconds_per_character=0.0)).forecast("m", NOTHING, NOW) is None
    assert heard(beat()).forecast("other", NOTHING, NOW) is None
    assert heard(beat(state="draining")).forecast("m", NOTHING, NOW) is None
    assert heard(beat()).forecast("m", NOTHING, NOW + 3) is None


def test_a_free_slot_is_free_now() -> None:
    assert heard(beat()).forecast("m", NOTHING, NOW) == 0.0
    running = (Running("r", 100, 2.0),)
    assert heard(beat(slots=2, busy=1, running=running)).forecast("m", NOTHING, NOW) == 0.0


def test_a_run_takes_its_characters_at_the_measured_rate() -> None:
    cluster = heard(beat(idle=0, busy=1, running=(Running("r", 100, 2.0),)))
    assert cluster.forecast("m", NOTHING, NOW) == pytest.approx(8.0)
    assert cluster.forecast("m", NOTHING, NOW + 1) == pytest.approx(7.0), "time goes on after the heartbeat"
    assert cluster.forecast("m", Waiting(1, 50), NOW) == pytest.approx(8.0 + 5.0)


def test_a_run_over_its_time_needs_a_little_more() -> None:
    cluster = heard(beat(idle=0, busy=1, running=(Running("r", 100, 60.0),)))
    assert cluster.forecast("m", NOTHING, NOW) == pytest.approx(1.0)


def test_a_node_without_a_measurement_of_its_own_counts_with_its_slots() -> None:
    cluster = heard(
        beat("old", idle=0, busy=1, running=(Running("r", 100, 0.0),)), beat("new", seconds_per_character=0.0)
    )
    assert cluster.forecast("m", NOTHING, NOW) == 0.0
    assert cluster.forecast("m", Waiting(1, 30), NOW) == pytest.approx(3.0)


SLOTS = st.lists(st.integers(0, 200), min_size=1, max_size=4)
"""Characters that run in each slot of a one-slot node; 0 is an idle slot."""


def group(slots: list[int]) -> tuple[Cluster, list[float]]:
    """Return a group of such slots, and in how many seconds each becomes free."""
    running = [(Running("r", n, 0.0),) if n else () for n in slots]
    beats = (
        beat(f"n{i}", idle=1 - len(runs), busy=len(runs), running=runs) for i, runs in enumerate(running)
    )
    return heard(*beats), [0.1 * n for n in slots]


def simulated_start_s(free_in: list[float], service_s: float, ahead: int) -> float:
    """Return when the request behind `ahead` others starts, if each takes equally long.

    Every slot starts one request each `service_s` from when it is free: the starts of all slots in order are
    the requests in order.
    """
    starts = itertools.chain.from_iterable(
        (free + k * service_s for k in range(ahead + 1)) for free in free_in
    )
    return sorted(starts)[ahead]


@given(slots=SLOTS, per_slot=st.integers(0, 4), more=st.integers(0, 5), characters=st.integers(1, 300))
def test_a_forecast_is_what_a_simulation_finds(
    slots: list[int], per_slot: int, more: int, characters: int
) -> None:
    cluster, free_in = group(slots)
    ahead = min(per_slot * len(slots) + more, 4 * len(slots))
    forecast = cluster.forecast("m", Waiting(ahead, ahead * characters), NOW)
    assert forecast == pytest.approx(simulated_start_s(free_in, 0.1 * characters, ahead))


@given(slots=SLOTS, ahead=st.integers(25, 200), characters=st.integers(1, 150))
def test_a_forecast_for_a_long_queue_is_near_what_a_simulation_finds(
    slots: list[int], ahead: int, characters: int
) -> None:
    cluster, free_in = group(slots)
    service_s = 0.1 * characters
    exact = simulated_start_s(free_in, service_s, ahead)
    forecast = cluster.forecast("m", Waiting(ahead, ahead * characters), NOW)
    if all(free <= ahead / len(slots) * service_s for free in free_in):
        assert forecast == pytest.approx(exact, abs=service_s + 1e-6)
    else:  # a slot whose run outlasts the whole queue takes no part in it
        assert forecast is not None
        assert forecast >= exact - service_s - 1e-6


@given(slots=SLOTS, ahead=st.integers(0, 100))
def test_a_forecast_grows_with_what_waits(slots: list[int], ahead: int) -> None:
    cluster, _ = group(slots)
    near = cluster.forecast("m", Waiting(ahead, 50 * ahead), NOW)
    far = cluster.forecast("m", Waiting(ahead + len(slots), 50 * (ahead + len(slots))), NOW)
    assert near is not None
    assert far is not None
    assert 0.0 <= near <= far + 1e-9


def test_the_group_is_summed_up_over_its_nodes() -> None:
    seen = [
        Seen(beat("a", slots=2, idle=0, busy=2, synthesized=7, failed=1, version="1"), NOW),
        Seen(beat("b", model="other", slots=3, idle=1, busy=2, paused="no key"), NOW),
    ]
    status = group_status(seen, {"m": Waiting(4, 80), "gone": Waiting(2, 9), "other": Waiting(0, 0)})
    assert (status.status, status.nodes, status.slots, status.busy, status.waiting) == (True, 2, 5, 4, 6)
    assert status.models == {
        "m": {"status": False, "nodes": 1, "slots": 2, "busy": 2, "waiting": 4},
        "other": {"status": True, "nodes": 1, "slots": 3, "busy": 2, "waiting": 0},
        "gone": {"status": False, "nodes": 0, "slots": 0, "busy": 0, "waiting": 2},
    }
    assert [worker["node"] for worker in status.workers] == ["a", "b"]
    assert status.workers[0]["synthesized"] == 7
    assert [worker["paused"] for worker in status.workers] == ["", "no key"]
    as_dict = status.as_dict()
    assert list(as_dict) == ["status", "nodes", "slots", "busy", "waiting", "models", "workers"]
    assert as_dict["workers"] == list(status.workers)


def test_a_silent_node_has_no_free_slot() -> None:
    status = group_status([Seen(beat(), NOW, silent=True)], {})
    assert (status.status, status.nodes, status.slots) == (False, 1, 1)
    assert (status.workers[0]["state"], status.workers[0]["idle"]) == ("silent", 0)
    assert status.models["m"]["status"] is False


def test_an_empty_group_cannot_speak() -> None:
    empty = {"status": False, "nodes": 0, "slots": 0, "busy": 0, "waiting": 0, "models": {}, "workers": []}
    assert group_status([], {}).as_dict() == empty
