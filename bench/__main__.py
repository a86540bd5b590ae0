"""python -m bench [names] [options]: run benchmarks one after another; options need exactly one name."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Final

NAMES: Final = (
    "dispatch",
    "throughput",
    "overhead",
    "memory",
    "cancel",
    "failover",
    "forecast",
    "chaos",
    "crashes",
    "batch",
    "first_sound",
    "first_byte",
    "speed_up",
    "encoders",
    "isolation",
    "long_streams",
    "xunfei",
)


def main() -> int:
    """Run what the command line names, everything unless it names something."""
    arguments = sys.argv[1:]
    n_names = next((i for i, each in enumerate(arguments) if each.startswith("-")), len(arguments))
    names, options = arguments[:n_names], arguments[n_names:]
    unknown = [name for name in names if name not in NAMES]
    if unknown or (options and len(names) != 1):
        sys.stderr.write(f"usage: python -m bench [{'|'.join(NAMES)}] ...; options follow a single name\n")
        return 2
    for name in names or NAMES:
        started_at = time.monotonic()
        importlib.import_module(f"bench.{name}").main(options)
        print(f"{name}: {time.monotonic() - started_at:.0f} s\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
