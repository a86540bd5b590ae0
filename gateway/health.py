"""`python -m gateway.health`: does the gateway of this container answer? Standard library only."""

from __future__ import annotations

import http.client
import os
import sys
from typing import Final

_TIMEOUT_S: Final = 3.0
_EVERYWHERE: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}


def fault(host: str, port: int) -> str | None:
    """Return what is wrong with the gateway that listens on host and port, None when it is healthy.

    Healthy is the process itself (/healthz), whether or not anyone can speak (/readyz): starting a gateway
    again helps neither NATS nor the nodes, and loses what waits in it.
    """
    connection = http.client.HTTPConnection(_EVERYWHERE.get(host, host), port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as exc:
        return f"no answer: {exc!r}"
    finally:
        connection.close()
    return None if status == 200 else f"status {status}"


def main() -> int:
    """Print what is wrong and return 1; return 0 for a healthy gateway."""
    reason = fault(os.environ.get("GATEWAY_HOST", ""), int(os.environ.get("GATEWAY_PORT") or 8080))
    if reason is not None:
        sys.stderr.write(f"{reason}\n")
    return 0 if reason is None else 1


if __name__ == "__main__":
    sys.exit(main())
