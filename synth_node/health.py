"""`python -m synth_node.health`: is the node of this container connected, and does its loop run?

The node writes a small state file with every heartbeat (`write_state`); another process reads it here.
Standard library only: it runs every few seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

STATE_FILE: Final = "SYNTH_STATE_FILE"
"""Variable that names the file; without it nothing is written."""
_MISSED: Final = 3
_HEALTHY: Final = ("ready", "draining")


def write_state(
    path: Path, *, node: str, state: str, slots: int, paused: str, connected: bool, interval_s: float
) -> None:
    """Write what `fault` reads, whole or not at all. Blocks for one small file; raises OSError.

    node, state, paused, interval_s: as in the heartbeat. slots: those that are idle (armed) or busy.
    connected: to NATS, now.
    """
    content: dict[str, object] = {
        "node": node,
        "state": state,
        "slots": slots,
        "paused": paused,
        "connected": connected,
        "interval_s": interval_s,
        # One clock for all processes of the machine, which nobody sets.
        "written_at_s": time.monotonic(),
    }
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content))
    part.replace(path)


def fault(state: Mapping[str, object], now_s: float) -> str | None:
    """Return what is wrong with the node that wrote `state`, if anything. now_s: time.monotonic().

    Nothing is if its engine pauses: the fault is with the engine's server, and no new start would mend it.
    """
    written_at_s, interval_s = state.get("written_at_s"), state.get("interval_s")
    if not isinstance(written_at_s, (int, float)) or not isinstance(interval_s, (int, float)):
        return "the state file holds no state"
    if now_s - written_at_s > _MISSED * interval_s + 1:
        return f"no sign of life for {now_s - written_at_s:.0f} s"
    if state.get("connected") is not True:
        return "not connected to NATS"
    if state.get("state") not in _HEALTHY:
        return f"{state.get('state')}"
    if not state.get("slots") and not state.get("paused"):
        return "no slot is idle or busy"
    return None


def main() -> int:
    """Print what is wrong and return 1; return 0 for a healthy node."""
    path = os.environ.get(STATE_FILE)
    if not path:
        print(f"{STATE_FILE} is not set", file=sys.stderr)  # noqa: T201
        return 1
    try:
        state = json.loads(Path(path).read_text())
    except (OSError, ValueError) as exc:
        print(f"no state: {exc}", file=sys.stderr)  # noqa: T201
        return 1
    reason = fault(state, time.monotonic()) if isinstance(state, dict) else "the state file holds no state"
    if reason is not None:
        print(reason, file=sys.stderr)  # noqa: T201
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
