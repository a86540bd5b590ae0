"""Sounds to encode, and decoders that are not ours: PyAV, and FFmpeg's program where it is installed."""

from __future__ import annotations

import io
import math
import subprocess
from array import array
from collections.abc import Iterable

import av

from synth_node.audio.encode import Encoder, make_encoder

BIT_RATE = 64_000


def tone(seconds: float, rate: int, hertz: float = 440) -> bytes:
    """Return a sine, mono s16le at `rate` Hz."""
    step = 2 * math.pi * hertz / rate
    return array("h", (round(12_000 * math.sin(step * i)) for i in range(round(seconds * rate)))).tobytes()


def silence(seconds: float, rate: int) -> bytes:
    return bytes(2 * round(seconds * rate))


def encoder(format: str, rate: int, out_rate: int | None = None, *, continued: bool = False) -> Encoder:
    return make_encoder(format, in_rate=rate, sample_rate=out_rate, bit_rate=BIT_RATE, continued=continued)


def cut(pcm: bytes, n_bytes: int) -> Iterable[bytes]:
    return (pcm[start : start + n_bytes] for start in range(0, len(pcm), n_bytes))


def encoded(format: str, pcm: bytes, rate: int, out_rate: int | None = None, n_bytes: int = 4001) -> bytes:
    """Return the file that `pcm` becomes when it comes in pieces of `n_bytes`."""
    made = encoder(format, rate, out_rate)
    return b"".join(map(made.encode, cut(pcm, n_bytes))) + made.flush()


def decoded(file: bytes, format: str, rate: int) -> tuple[array[int], int]:
    """Return the samples of a file and their rate in Hz. rate: of bare PCM."""
    if format == "pcm":
        return array("h", file), rate
    with av.open(io.BytesIO(file), "r") as container:
        resampler = av.AudioResampler(format="s16", layout="mono")
        frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
    return array("h", b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)), (
        frames[0].sample_rate if frames else rate
    )


def ffmpeg_decoded(file: bytes, rate: int) -> array[int]:
    """Return the samples of a file, not bare PCM, at `rate` Hz, as FFmpeg's program has them."""
    command = ["ffmpeg", "-v", "error", "-i", "-", "-f", "s16le", "-ac", "1", "-ar", str(rate), "-"]
    run = subprocess.run(command, input=file, capture_output=True, timeout=20, check=True)
    assert run.stderr == b""
    return array("h", run.stdout)


def loudness(samples: Iterable[int]) -> float:
    """Return the root mean square."""
    squares = [sample * sample for sample in samples]
    return math.sqrt(sum(squares) / len(squares)) if squares else 0.0
