"""Who lives and how busy they are, drawn from heartbeats: for display and forecasts, never for dispatch."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from antiphon.heartbeat import Heartbeat, Waiting

MISSED_HEARTBEATS: Final = 3
_WAITING_EXPIRES_S: Final = 3.0
_MAX_NODES: Final = 10_000
_MAX_MODELS: Final = 10_000
"""That are remembered; the one not heard of for longest is forgotten."""
_MAX_FORECAST_S: Final = 86_400.0
_EXACT_PER_SLOT: Final = 4
"""Requests ahead, per slot, up to which a forecast follows each one; beyond, the mean is as good."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A heartbeat and when it came.

    at: in seconds of the caller's own clock. silent: the node was asked and did not answer.
    """

    heartbeat: Heartbeat
    at: float
    silent: bool = False

    def alive(self, now: float) -> bool:
        """Tell whether fewer than three heartbeats were missed."""
        return now - self.at < MISSED_HEARTBEATS * self.heartbeat.interval_s


class Cluster:
    """Nodes by their heartbeats, and what callers have waiting. Time is an argument, in seconds."""

    def __init__(self) -> None:
        self._nodes: dict[str, Seen] = {}
        self._waiting: dict[tuple[str, str], tuple[Waiting, float]] = {}
        self._models: dict[str, None] = {}

    def heard(self, heartbeat: Heartbeat, now: float) -> None:
        """Take in a heartbeat; one that is older than what we have is ignored, `left` ends the node."""
        seen = self._nodes.get(heartbeat.node)
        if seen is not None and seen.heartbeat.seq > heartbeat.seq:
            return
        if heartbeat.state == "left":
            self._nodes.pop(heartbeat.node, None)
        elif heartbeat.node in self._nodes or len(self._nodes) < _MAX_NODES:
            self._nodes[heartbeat.node] = Seen(heartbeat, now)
            self._models.pop(heartbeat.model, None)
            self._models[heartbeat.model] = None
            if len(self._models) > _MAX_MODELS:
                del self._models[next(iter(self._models))]

    def heard_waiting(self, model: str, caller: str, waiting: Waiting, now: float) -> None:
        """Take in what one caller has waiting."""
        if waiting.waiting:
            self._waiting[model, caller] = waiting, now
        else:
            self._waiting.pop((model, caller), None)

    def nodes(self, now: float, model: str | None = None) -> list[Seen]:
        """Return the living nodes, of one model or of all, by name."""
        self._nodes = {node: seen for node, seen in self._nodes.items() if seen.alive(now)}
        living = (s for s in self._nodes.values() if model is None or s.heartbeat.model == model)
        return sorted(living, key=lambda seen: (seen.heartbeat.name, seen.heartbeat.node))

    def has_nodes(self, model: str, now: float) -> bool:
        """Tell whether a node of the model lives."""
        return any(s.heartbeat.model == model and s.alive(now) for s in self._nodes.values())

    def was_seen(self, model: str) -> bool:
        """Tell whether a node of the model was ever heard of, as far as that is remembered."""
        return model in self._models

    def is_ready(self, model: str, now: float) -> bool:
        """Tell whether a node of the model is past its start."""
        beats = (s.heartbeat for s in self._nodes.values() if s.alive(now))
        return any(beat.model == model and beat.state != "starting" for beat in beats)

    def paused_for(self, model: str, now: float) -> str:
        """Return why the engine of each living node of the model speaks nothing; empty if one's can."""
        beats = [s.heartbeat for s in self._nodes.values() if s.heartbeat.model == model and s.alive(now)]
        return beats[0].paused if all(beat.paused for beat in beats) and beats else ""

    def models(self, now: float) -> list[str]:
        """Return the models that live, by name; one whose nodes are all leaving only if there is no other."""
        beats = [s.heartbeat for s in self._nodes.values() if s.alive(now)]
        staying = {beat.model for beat in beats if beat.state != "draining"}
        return sorted(staying or {beat.model for beat in beats})

    def waiting(self, now: float, model: str | None = None, *, without: str | None = None) -> Waiting:
        """Return the sum of what callers have waiting; `without` leaves one caller out."""
        fresh = {k: v for k, v in self._waiting.items() if now - v[1] < _WAITING_EXPIRES_S}
        self._waiting = fresh
        chosen = [w for (m, c), (w, _) in fresh.items() if model in (None, m) and c != without]
        return Waiting(sum(w.waiting for w in chosen), sum(w.characters for w in chosen))

    def waiting_models(self, now: float) -> set[str]:
        """Return the models that callers have reported to wait for."""
        return {model for (model, _), (_, at) in self._waiting.items() if now - at < _WAITING_EXPIRES_S}

    def forecast(self, model: str, ahead: Waiting, now: float) -> float | None:
        """Return in how many seconds a request would find a free slot that joined the queue now.

        ahead: everything that waits before it. None when nothing was measured yet, or no node lives. While
        the engines of all nodes pause, it is when the first of them looks whether it can speak again.

        List scheduling: each slot becomes free when its run's characters are spoken at the measured rate;
        what waits takes, in turn, the slot that is free first.
        """
        free_in: list[float] = []
        rates: list[float] = []
        pauses: list[float] = []
        for seen in self._nodes.values():
            beat = seen.heartbeat
            if beat.model != model or beat.state not in ("ready", "starting") or not seen.alive(now):
                continue
            if beat.paused:
                pauses.append(max(0.0, beat.pause_s - (now - seen.at)))
                continue
            rate = beat.seconds_per_character
            if rate > 0:
                rates.append(rate)
            running = [_rest_s(run.characters * rate, run.elapsed_s + now - seen.at) for run in beat.running]
            # A slot that is neither idle nor busy has its engine starting: it is not counted on.
            free_in += [*running, *[0.0] * (beat.idle + max(0, beat.busy - len(running)))]
        if not free_in or not rates:
            return min(*pauses, _MAX_FORECAST_S) if pauses and not free_in else None
        return min(_start_of_next(free_in, ahead, sum(rates) / len(rates)), _MAX_FORECAST_S)


def _rest_s(expected_s: float, elapsed_s: float) -> float:
    """Return the expected rest of a run; one that is over its time is expected to need a tenth more."""
    return max(expected_s - elapsed_s, 0.1 * expected_s)


def _start_of_next(free_in: list[float], ahead: Waiting, seconds_per_character: float) -> float:
    work_s = ahead.characters * seconds_per_character
    if ahead.waiting > _EXACT_PER_SLOT * len(free_in):
        return (sum(free_in) + work_s) / len(free_in)
    heapq.heapify(free_in)
    for _ in range(ahead.waiting):
        heapq.heapreplace(free_in, free_in[0] + work_s / ahead.waiting)
    return free_in[0]


@dataclass(frozen=True, slots=True)
class GroupStatus:
    """The state of the whole group. status: a slot is free. waiting: requests that wait, over all callers."""

    status: bool
    nodes: int
    slots: int
    busy: int
    waiting: int
    models: dict[str, dict[str, Any]]
    workers: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as the JSON object that the gateway serves."""
        return {
            "status": self.status,
            "nodes": self.nodes,
            "slots": self.slots,
            "busy": self.busy,
            "waiting": self.waiting,
            "models": self.models,
            "workers": list(self.workers),
        }


def group_status(seen: Iterable[Seen], waiting: dict[str, Waiting]) -> GroupStatus:
    """Sum up the nodes; `waiting` is by model. A silent node counts as a node without a free slot."""
    workers = tuple(_worker(each) for each in seen)
    models: dict[str, dict[str, Any]] = defaultdict(
        lambda: {"status": False, "nodes": 0, "slots": 0, "busy": 0, "waiting": 0}
    )
    for worker in workers:
        model = models[worker["model"]]
        model["nodes"] += 1
        model["slots"] += worker["slots"]
        model["busy"] += worker["busy"]
        model["status"] = model["status"] or worker["idle"] > 0
    for name, each in waiting.items():
        if each.waiting:
            models[name]["waiting"] = each.waiting
    return GroupStatus(
        status=any(worker["idle"] > 0 for worker in workers),
        nodes=len(workers),
        slots=sum(worker["slots"] for worker in workers),
        busy=sum(worker["busy"] for worker in workers),
        waiting=sum(each.waiting for each in waiting.values()),
        models=dict(models),
        workers=workers,
    )


def _worker(seen: Seen) -> dict[str, Any]:
    beat = seen.heartbeat
    return {
        "node": beat.node,
        "name": beat.name,
        "model": beat.model,
        "state": "silent" if seen.silent else beat.state,
        "paused": beat.paused,
        "slots": beat.slots,
        "busy": beat.busy,
        "idle": 0 if seen.silent else beat.idle,
        "synthesized": beat.synthesized,
        "failed": beat.failed,
        "seconds_per_character": beat.seconds_per_character,
        "real_time_factor": beat.real_time_factor,
        "version": beat.version,
    }
