"""An engine that does what its text says, so that a test decides when its audio goes on."""

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace

CHUNK = bytes(2 * 2205)  # 100 ms of silence


class Scripted:
    """Two seconds of silence; then "fail" fails, and "until PATH" goes on until there is such a file."""

    name = "scripted"
    sample_rate = 22050
    voices: tuple[str, ...] = ()
    words = True

    def synthesize(self, request: SimpleNamespace) -> Iterator[bytes | tuple[int, int, float, float]]:
        """Yield the first word, of 100 ms, and chunks of as much."""
        yield 0, len(request.text.split()[0]), 0.0, 0.1
        for _ in range(20):
            yield CHUNK
        word, _, path = request.text.partition(" ")
        if word == "fail":
            raise RuntimeError("as the text said")
        while word == "until" and not os.path.exists(path):
            yield CHUNK
            time.sleep(0.02)

    def close(self) -> None:
        """Nothing is held."""
