"""CPU time of each encoder for speech, in this process: no node, no HTTP."""

from __future__ import annotations

import argparse
import time
from typing import Final

import uvloop

from antiphon.client import connect
from antiphon.request import CONTENT_TYPES
from bench.processes import processes
from bench.tables import quantile, show
from bench.texts import prose
from synth_node.audio.encode import make_encoder
from synth_node.audio.joined import Joined

RATE: Final = 22_050
BIT_RATE: Final = 64_000
CHUNK_BYTES: Final = 8820
"""200 ms at a time."""


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench encoders")
    parser.add_argument("--words", type=int, default=400, help="of speech")
    parser.add_argument("--times", type=int, default=5, help="that it is encoded; the median counts")
    chosen = parser.parse_args(options)
    with processes() as group:
        group.node("espeak")
        group.gateway().wait_for_slots(1)
        pcm = uvloop.run(_speech(group.nats_url, prose(chosen.words)))
    audio_s = len(pcm) / 2 / RATE
    rows = []
    for format in CONTENT_TYPES:
        _encode(format, pcm[: 20 * CHUNK_BYTES])  # libraries are loaded, caches are warm
        costs = [_encode(format, pcm) for _ in range(chosen.times)]
        cpu_s, n_bytes = quantile([seconds for seconds, _ in costs], 0.5), costs[0][1]
        row = [1000 * cpu_s / audio_s, 100 * cpu_s / audio_s, audio_s / cpu_s, 8 * n_bytes / audio_s / 1000]
        rows.append([format, *row])
    show(
        f"encoders: {audio_s:.0f} s of speech at {RATE} Hz, {1000 * CHUNK_BYTES // 2 // RATE} ms at a time",
        ["format", "CPU ms per s of audio", "% of real time", "× real time", "kbit/s"],
        rows,
        "To be reached: 2 % of real time for each stream.",
    )


async def _speech(nats_url: str, text: str) -> bytes:
    async with connect(nats_url) as tts:
        return b"".join([chunk async for chunk in tts.stream(text, format="pcm", sample_rate=RATE)])


def _encode(format: str, pcm: bytes) -> tuple[float, int]:
    """Return the CPU seconds, all threads of the codec included, and the bytes of the file."""
    started_at = time.process_time()
    joined = Joined(lambda rate: make_encoder(format, in_rate=rate, sample_rate=None, bit_rate=BIT_RATE))
    joined.begin(0)
    n_bytes = 0
    for start in range(0, len(pcm), CHUNK_BYTES):
        pieces = joined.encode(RATE, pcm[start : start + CHUNK_BYTES])
        n_bytes += sum(len(piece.data) for piece in pieces)
    n_bytes += sum(len(piece.data) for piece in joined.flush())
    joined.close()
    return time.process_time() - started_at, n_bytes
