"""Text to audio: a computed tone, quick and the same each time, or espeak-ng in a process of its own."""

from __future__ import annotations

import array
import asyncio
import json
import math
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, Literal

import lameenc

from tests.fake_xunfei.espeak import Order

Mode = Literal["tone", "espeak"]

TONE_S_PER_CHARACTER: Final = 0.06
MAX_TONE_S: Final = 1000.0
"""A longer text does not make a longer tone."""
ESPEAK_TIMEOUT_S: Final = 60.0
MAX_PROCESSES: Final = 4
_AMPLITUDE: Final = 10_000
_WORDS_PER_MINUTE: Final = 175
_BIT_RATES: Final = {8000: 16, 16000: 48, 24000: 48}  # kbit/s
_HAN: Final = re.compile(r"[\u3400-\u9fff]")
_MEN: Final = frozenset(
    {"aisjiuxu", "x5_lingfeiyi_flow", "x5_lingyuyan_flow", "x4_lingfeiyi_oral", "x2_pengfei", "x2_yifeng"}
)


@dataclass(frozen=True, slots=True)
class Manner:
    """How to speak.

    speed, volume, pitch: 0 to 100, 50 is normal; 0 is half and 100 double the normal speed.
    sample_rate: in Hz. mp3: else mono s16le without a header.
    """

    voice: str
    speed: int
    volume: int
    pitch: int
    sample_rate: int
    mp3: bool

    @property
    def pace(self) -> float:
        """The speed as a factor, 0.5 to 2."""
        return float(2.0 ** ((self.speed - 50) / 50))


@dataclass(frozen=True, slots=True)
class Audio:
    """A whole utterance: its bytes and how long they sound."""

    data: bytes
    seconds: float


class Speaker:
    """Speaks without blocking the loop."""

    def __init__(self, mode: Mode) -> None:
        self._mode = mode
        self._room = asyncio.Semaphore(MAX_PROCESSES)

    async def speak(self, text: str, manner: Manner) -> Audio:
        """Return the audio of the whole text."""
        if self._mode == "tone":
            return await asyncio.to_thread(_tone_audio, len(text), manner)
        async with self._room, asyncio.timeout(ESPEAK_TIMEOUT_S):
            pcm = await _espeak(text, manner)
        return await asyncio.to_thread(_packed, pcm, manner)


@lru_cache(maxsize=8)
def _tone_audio(n_characters: int, manner: Manner) -> Audio:
    seconds = min(MAX_TONE_S, n_characters * TONE_S_PER_CHARACTER / manner.pace)
    n_samples = round(seconds * manner.sample_rate)
    hertz = round(440 * 2.0 ** ((manner.pitch - 50) / 50))
    period = _second(hertz, _AMPLITUDE * manner.volume // 50, manner.sample_rate)
    repeats = -(-n_samples // manner.sample_rate)
    return _packed((period * repeats)[: 2 * n_samples], manner)


@lru_cache(maxsize=16)
def _second(hertz: int, amplitude: int, sample_rate: int) -> bytes:
    """Return one second of a sine, s16le: a whole number of periods, so that it repeats without a click."""
    step = 2 * math.pi * hertz / sample_rate
    samples = array.array("h", (round(amplitude * math.sin(step * i)) for i in range(sample_rate)))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


async def _espeak(text: str, manner: Manner) -> bytes:
    """Raises RuntimeError if the program fails."""
    variant = "m3" if manner.voice in _MEN else "f2"
    order = Order(
        text=text,
        language=f"{'cmn' if _HAN.search(text) else 'en-us'}+{variant}",
        words_per_minute=round(_WORDS_PER_MINUTE * manner.pace),
        volume=2 * manner.volume,
        pitch=min(99, manner.pitch),
        sample_rate=manner.sample_rate,
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("espeak.py")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        pcm, _ = await process.communicate(json.dumps(order).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"espeak.py ended with {process.returncode}")
    return pcm


def _packed(pcm: bytes, manner: Manner) -> Audio:
    seconds = len(pcm) / 2 / manner.sample_rate
    return Audio(_mp3(pcm, manner.sample_rate) if manner.mp3 else pcm, seconds)


def _mp3(pcm: bytes, sample_rate: int) -> bytes:
    """Return one constant bit rate stream without a tag, as the service's seem to be."""
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_channels(1)
    encoder.set_in_sample_rate(sample_rate)
    encoder.set_bit_rate(_BIT_RATES[sample_rate])
    encoder.set_quality(7)
    return bytes(encoder.encode(pcm)) + bytes(encoder.flush())
