"""A node dies in the middle of a stream: what the listener has in the end, on the waveform."""

from __future__ import annotations

import array
import io
import itertools
import signal
from typing import Final

import av
import pytest

from antiphon.client import TtsClient
from antiphon.errors import RunLost
from antiphon.events import Segment
from antiphon.request import SpeechRequest
from tests.conftest import StartNode, until_ready

SECONDS_PER_CHARACTER: Final = 0.06
TEXT: Final = " ".join(f"This is sentence {n}." for n in range(200))
MAX_EXTRA_S: Final = 0.08
WINDOW_S: Final = 0.01


def decoded(audio: bytes, format: str) -> tuple[array.array[int], int]:
    """Return mono samples and their rate in Hz."""
    if format == "pcm":
        return array.array("h", audio), 22050
    samples: array.array[int] = array.array("h")
    with av.open(io.BytesIO(audio), "r", format={"aac": "aac", "opus": "ogg"}.get(format)) as container:
        rate = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
        frames = (resampler.resample(frame) for frame in container.decode(audio=0))
        for frame in itertools.chain.from_iterable(frames):
            samples.frombytes(bytes(frame.planes[0])[: 2 * frame.samples])
    return samples, rate


def silences(samples: array.array[int], rate: int) -> list[tuple[float, float]]:
    """Return (begin, duration) in seconds of what is not the tone."""
    size = round(WINDOW_S * rate)
    quiet = [max(map(abs, samples[i : i + size])) < 6000 for i in range(0, len(samples) - size, size)]
    found, begin = [], 0
    for is_quiet, group in itertools.groupby(quiet):
        length = len(list(group))
        if is_quiet:
            found.append((begin * WINDOW_S, length * WINDOW_S))
        begin += length
    return found


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "wav", "pcm"])
async def test_the_seam_is_short_and_between_two_segments(
    start_node: StartNode, client: TtsClient, format: str
) -> None:
    # A segment that fits into one message of 128 KiB is there as a whole or not at all.
    nodes = [await start_node(engine="tone", segment_characters=100) for _ in range(2)]
    await until_ready(client, 2)
    audio, segments, killed = b"", [], False
    async with client.utterance(SpeechRequest(TEXT, format=format)) as utterance:
        async for event in utterance.events():
            if isinstance(event, Segment):
                segments.append(event)
            elif isinstance(event, bytes):
                audio += event
                if not killed and len(segments) > 3:
                    killed = True
                    (node,) = [node for node in nodes if utterance.node.startswith(node.name)]
                    node.send_signal(signal.SIGKILL)
                    await node.wait()
        assert not utterance.node.startswith(node.name), "another node ended it"
    assert [s.index for s in segments] == list(range(segments[0].n_segments)), "each is told of once"

    samples, rate = decoded(audio, format)
    spoken_s = sum(s.length for s in segments) * SECONDS_PER_CHARACTER
    quiet = silences(samples, rate)
    extra_s = len(samples) / rate - spoken_s
    assert -0.02 < extra_s < MAX_EXTRA_S + 0.1, (
        "nothing is missing; what encoders add at both ends is allowed"
    )
    ends = list(itertools.accumulate(s.length * SECONDS_PER_CHARACTER for s in segments))
    inside = [(begin, length) for begin, length in quiet if 1 < begin < len(samples) / rate - 1]
    assert len(inside) <= 1
    for begin, length in inside:
        assert length <= MAX_EXTRA_S + WINDOW_S
        assert min(abs(begin - end) for end in ends) < 0.2, "between two segments"


async def test_flac_breaks(start_node: StartNode, client: TtsClient) -> None:
    nodes = [await start_node(engine="tone") for _ in range(2)]
    await until_ready(client, 2)
    async with client.utterance(SpeechRequest(TEXT, format="flac")) as utterance:
        (node,) = [node for node in nodes if utterance.node.startswith(node.name)]
        node.send_signal(signal.SIGKILL)
        await node.wait()
        with pytest.raises(RunLost):
            async for _ in utterance:
                pass
