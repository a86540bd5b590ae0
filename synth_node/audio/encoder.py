"""What every encoder does: count the samples, keep half of a sample that was cut in two."""

from __future__ import annotations

from abc import ABC, abstractmethod


class Encoder(ABC):
    """Encodes one utterance: mono s16le samples in, one file out, as they come.

    Blocking; one thread at a time.

    in_rate: of the samples, in Hz.
    """

    def __init__(self, in_rate: int) -> None:
        self._in_rate = in_rate
        self._n_samples = 0
        self._odd = b""
        self._flushed = False

    @property
    def n_samples(self) -> int:
        """Samples taken so far, at `in_rate`."""
        return self._n_samples

    @property
    def audible_s(self) -> float:
        """Seconds of the input that a decoder can play in full from the bytes returned so far.

        What the codec, its decoder or the container hold back is not in it; after `flush` it is all.
        """
        taken_s = self._n_samples / self._in_rate
        return taken_s if self._flushed else max(0.0, min(self._decodable_s(), taken_s))

    def encode(self, pcm: bytes) -> bytes:
        """Take mono s16le samples, cut anywhere; return what is encoded so far, maybe nothing."""
        if self._odd:
            pcm, self._odd = self._odd + pcm, b""
        if len(pcm) % 2:
            pcm, self._odd = pcm[:-1], pcm[-1:]
        if not pcm:
            return b""
        self._n_samples += len(pcm) // 2
        return self._encode(pcm)

    def flush(self) -> bytes:
        """Return the end of the file; nothing if there was no sample at all."""
        if not self._n_samples:
            return b""
        self._flushed = True
        return self._flush()

    def close(self) -> None:  # noqa: B027 - most have nothing to release
        """Release what the encoder holds, without an end to the file."""

    @abstractmethod
    def _encode(self, pcm: bytes) -> bytes:
        """Take whole samples, at least one."""

    @abstractmethod
    def _flush(self) -> bytes:
        """Return the rest; called once at most."""

    @abstractmethod
    def _decodable_s(self) -> float:
        """Return the seconds that can be decoded from what was returned, or any number outside the input."""
