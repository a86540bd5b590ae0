"""Mono PCM at one sample rate in, at another out, through PyAV."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import av

# libswresample looks 16 samples of the lower rate ahead, measured, and drops inputs shorter than that.
_SILENT_SAMPLES: Final = 64
"""Fed behind the input, at the lower rate: more than enough to get all of it out."""


def mono_frame(pcm: bytes, sample_rate: int, start: int) -> av.AudioFrame:
    """Return mono s16le samples as a frame that begins `start` samples into the stream."""
    import av

    frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
    frame.planes[0].update(pcm)
    frame.sample_rate = sample_rate
    frame.pts = start
    frame.time_base = Fraction(1, sample_rate)
    return frame


class Resampler:
    """Resamples one utterance; its sound begins and ends where it did. Blocking; one thread at a time.

    in_rate, out_rate: in Hz; they must differ.
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        import av  # takes 70 ms and 30 MB, so only a node that needs it pays

        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=out_rate)
        self._in_rate = in_rate
        self._out_rate = out_rate
        self._n_in = 0
        self.n_out = 0
        """Samples returned so far, at `out_rate`."""

    def resample(self, pcm: bytes) -> bytes:
        """Take whole samples; return those that can be told by now, maybe none."""
        out = self._resample(pcm)
        self._n_in += len(pcm) // 2
        self.n_out += len(out) // 2
        return out

    def flush(self) -> bytes:
        """Return the rest: then there are exactly as many samples as the input lasts, rounded up."""
        n_rest = -(-self._n_in * self._out_rate // self._in_rate) - self.n_out
        silence = bytes(2 * _SILENT_SAMPLES * -(-max(self._in_rate, self._out_rate) // self._out_rate))
        rest = self._resample(silence) + self._samples(self._resampler.resample(None))
        self.n_out += n_rest
        return rest[: 2 * n_rest].ljust(2 * n_rest, b"\0")

    def _resample(self, pcm: bytes) -> bytes:
        return self._samples(self._resampler.resample(mono_frame(pcm, self._in_rate, self._n_in)))

    @staticmethod
    def _samples(frames: list[av.AudioFrame]) -> bytes:
        return b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)
