"""Engines of batches with one defect each, which `antiphon check-engine` is to name, and sound ones."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from itertools import cycle
from types import SimpleNamespace
from typing import Any

from tests.engines.defects import RATE, speech


def said(request: SimpleNamespace) -> bytes:
    return speech(request.text, speed=request.speed).tobytes()


class Sound:
    """Speaks one in another way than several."""

    sample_rate = RATE

    def synthesize(self, request: SimpleNamespace) -> bytes:
        return speech(request.text, speed=request.speed, pitch=330).tobytes()

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return [said(request) for request in requests]


class Streaming:
    sample_rate = RATE

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Iterator[tuple[int, bytes]]:
        for index, request in reversed(list(enumerate(requests))):
            yield index, said(request)


class Moody(Sound):
    """Is never the same, alone or not."""

    synthesize = None  # type: ignore[assignment]
    # Each makes another number of samples, and none comes again soon: no two audios are equal by chance.
    moods = cycle(random.sample([0.98 + 0.002 * step for step in range(21)], 21))

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return [
            speech(request.text, speed=request.speed * next(self.moods)).tobytes() for request in requests
        ]


class Swapped(Sound):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return [said(request) for request in reversed(requests)]


class Sorted(Sound):
    """As engines do that pad texts of about the same length to the longest."""

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return [said(request) for request in sorted(requests, key=lambda request: len(request.text))]


class SwappedAndMoody(Moody):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return super().synthesize_batch(requests)[::-1]


class Padded(Sound):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        audios = [said(request) for request in requests]
        return [audio.ljust(max(map(len, audios)), b"\0") for audio in audios]


class Raises(Sound):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        if len(requests) > 1:
            raise ValueError("shapes do not match")
        return super().synthesize_batch(requests)


class RaisesLate(Streaming):
    """When all have begun."""

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Iterator[tuple[int, bytes]]:
        yield from super().synthesize_batch(requests)
        if len(requests) > 1:
            raise ValueError("shapes do not match")


class TooFew(Sound):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return super().synthesize_batch(requests)[: max(1, len(requests) - 1)]


class ExceptionForOne(Sound):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        return [*super().synthesize_batch(requests[:2]), *(ValueError("too many") for _ in requests[2:])]


class Dies(Sound):
    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        if len(requests) > 1:
            os._exit(3)
        return super().synthesize_batch(requests)


class Trailing(Sound):
    """A little longer in a batch."""

    def synthesize_batch(self, requests: list[SimpleNamespace]) -> Any:
        rest = bytes(RATE // 5 * (len(requests) > 1))
        return [audio + rest for audio in super().synthesize_batch(requests)]
