"""PCM in, PCM out: bare, or as a WAV file."""

from __future__ import annotations

import struct
from typing import Final

from synth_node.audio.encoder import Encoder

UNKNOWN_BYTES: Final = 0xFFFF_FFFF
"""What stands for a length in a WAV header that is written before the length is known."""


def wav_header(sample_rate: int) -> bytes:
    """Return the head of a mono 16-bit WAV file of unknown length; sample_rate in Hz."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, sample_rate, 2 * sample_rate, 2, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", UNKNOWN_BYTES, b"WAVE")
        + fmt
        + struct.pack("<4sI", b"data", UNKNOWN_BYTES)
    )


class PcmEncoder(Encoder):
    """Mono s16le samples, as they are or resampled.

    out_rate: in Hz. head: bytes that come first.
    """

    def __init__(self, in_rate: int, out_rate: int, head: bytes = b"") -> None:
        super().__init__(in_rate)
        self._head = head
        self._resampler = None
        if out_rate != in_rate:
            from synth_node.audio.resample import Resampler

            self._resampler = Resampler(in_rate, out_rate)
        self._out_rate = out_rate

    def _encode(self, pcm: bytes) -> bytes:
        samples = pcm if self._resampler is None else self._resampler.resample(pcm)
        if not self._head:
            return samples
        head, self._head = self._head, b""
        return head + samples

    def _flush(self) -> bytes:
        return b"" if self._resampler is None else self._resampler.flush()

    def _decodable_s(self) -> float:
        n_out = self._n_samples if self._resampler is None else self._resampler.n_out
        return n_out / self._out_rate
