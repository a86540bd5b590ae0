"""One long text on many slots: how much sooner it is spoken than on one."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import os
import time

import uvloop

from antiphon.client import connect
from antiphon.request import SpeechRequest
from bench.processes import processes
from bench.tables import quantile, show
from bench.texts import prose
from synth_node.text.segments import Spoken, parts

AUDIO_MS = (5, 60)
"""Per character: next to nothing, so that the engine is all that takes time, and as much as speech has."""


def main(options: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench speed_up")
    parser.add_argument("-n", type=int, nargs="+", default=[1, 4, 16], help="one-slot nodes")
    parser.add_argument("--seconds", type=float, default=30.0, help="that one slot takes")
    parser.add_argument("--words", type=int, default=10_000, help="of the text")
    parser.add_argument(
        "--times", type=int, default=3, help="spoken by more than one node; the median counts"
    )
    chosen = parser.parse_args(options)
    text = prose(chosen.words)
    lengths = [len(part.text) for part in parts(text) if isinstance(part, Spoken)]
    ms = 1000 * chosen.seconds / sum(lengths)
    rows = []
    for audio_ms in AUDIO_MS:
        alone_s = float("nan")
        for n in chosen.n:
            seconds = _speak(text, n, 1 if n == 1 else chosen.times, ms=ms, audio_ms=audio_ms)
            alone_s = seconds if n == 1 else alone_s
            ideal_s = ms / 1000 * _makespan(lengths, n)
            speed_up = alone_s / seconds
            rows.append([audio_ms, n, seconds, ideal_s, speed_up, speed_up / n])
    show(
        f"speed_up: {len(text)} characters in {len(lengths)} segments, an engine that sleeps "
        f"{ms:.2f} ms per character, mp3",
        ["audio ms per character", "nodes", "s", "ideal s", "speed-up", "speed-up ÷ nodes"],
        rows,
        "To be reached: a speed-up of 0.9 × nodes. Ideal: every slot takes the next segment at once.",
    )


def _makespan(lengths: list[int], n: int) -> int:
    """Return when the last of `n` slots is done if each takes the next segment when it is free."""
    slots = [0] * n
    for length in lengths:
        heapq.heapreplace(slots, slots[0] + length)
    return max(slots)


def _speak(text: str, n: int, times: int, *, ms: float, audio_ms: float) -> float:
    os.environ.update(BENCH_MS=repr(ms), BENCH_AUDIO_MS=repr(audio_ms))
    with processes() as group:
        for _ in range(n):
            group.node("Reader")
        gateway = group.gateway()
        gateway.wait_for_slots(n)
        return uvloop.run(_seconds(group.nats_url, text, times))


async def _seconds(nats_url: str, text: str, times: int) -> float:
    """Return the median time until the last of the audio has come."""
    seconds = []
    async with connect(nats_url) as tts:
        await tts.speak("Everybody is awake.")
        for _ in range(times):
            await asyncio.sleep(0.5)
            started_at = time.perf_counter()
            async with tts.utterance(SpeechRequest(text), timeout_s=600) as utterance:
                async for _chunk in utterance:
                    pass
            seconds.append(time.perf_counter() - started_at)
    return quantile(seconds, 0.5)
