"""A class that is configured by variables of its own, which it reads in one go when it is loaded."""

import math
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from types import SimpleNamespace


@dataclass(frozen=True)
class Settings:
    """Each field is the variable HUM_<FIELD>. pitch: in Hz. note_ms: of one letter. volume: 0 to 1."""

    pitch: float = 110.0
    note_ms: int = 120
    volume: float = 0.3

    @classmethod
    def read(cls) -> "Settings":
        known = {f"HUM_{field.name.upper()}": field for field in fields(cls)}
        values = {}
        for name, value in os.environ.items():
            if not name.startswith("HUM_"):
                continue
            if name not in known:
                raise ValueError(f"{name} is no setting of this model; there are {', '.join(known)}")
            try:
                values[known[name].name] = type(known[name].default)(value)
            except ValueError:
                raise ValueError(f"{name} cannot be {value!r}") from None
        return cls(**values)


class Configured:
    sample_rate = 24_000

    def __init__(self) -> None:
        self.settings = Settings.read()

    def synthesize(self, request: SimpleNamespace) -> Iterator[bytes]:
        n = self.settings.note_ms * self.sample_rate // 1000
        peak = 32_767 * min(1.0, max(0.0, self.settings.volume))
        for letter in request.text:
            step = 2 * math.pi * self.settings.pitch * 2 ** (ord(letter) % 24 / 12) / self.sample_rate
            yield array("h", (int(peak * math.sin(step * i)) for i in range(n))).tobytes()
