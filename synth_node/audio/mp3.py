"""PCM in, MP3 out, through LAME."""

from __future__ import annotations

from typing import Final

import lameenc

from antiphon.errors import InvalidRequest
from antiphon.mp3 import (
    DECODER_DELAY,
    ENCODER_DELAY,
    SAMPLE_RATES,
    FrameCounter,
    info_frame,
    legal_bit_rate,
    samples_per_frame,
)
from synth_node.audio.encoder import Encoder

# LAME's default is 3, its fastest 7, which is no more than a fifth faster than this.
QUALITY: Final = 5


def mp3_sample_rate(engine_rate: int, asked: int | None) -> int:
    """Return the rate to encode at, in Hz: the one asked for, else the engine's or the next that MP3 has.

    Raises:
        InvalidRequest: MP3 has no such sample rate.
    """
    if asked is None:
        return min((rate for rate in SAMPLE_RATES if rate >= engine_rate), default=SAMPLE_RATES[-1])
    if asked not in SAMPLE_RATES:
        rates = ", ".join(str(rate) for rate in SAMPLE_RATES)
        raise InvalidRequest(f"mp3 has no sample rate of {asked} Hz, only {rates}", param="sample_rate")
    return asked


def speech_bit_rate(bit_rate: int, sample_rate: int) -> int:
    """Return the bit rate in bit/s for speech at `sample_rate` when `bit_rate` is right for 16-24 kHz."""
    if sample_rate < 16_000:
        return bit_rate // 2
    return bit_rate if sample_rate < 32_000 else bit_rate + bit_rate // 2


def mp3_bit_rate(bit_rate: int, sample_rate: int) -> int:
    """Return the constant bit rate in bit/s at `sample_rate` when `bit_rate` is right for 16-24 kHz."""
    return legal_bit_rate(speech_bit_rate(bit_rate, sample_rate), sample_rate)


class Mp3Encoder(Encoder):
    """Mono, constant bit rate.

    out_rate: of the MP3, one of SAMPLE_RATES. bit_rate: in bit/s. continued: without an Info frame, which
    may stand at the start of a file only; a player then adds ENCODER_DELAY + DECODER_DELAY of silence here.
    """

    def __init__(self, in_rate: int, out_rate: int, bit_rate: int, *, continued: bool = False) -> None:
        super().__init__(in_rate)
        self._lame = lameenc.Encoder()
        self._lame.silence()
        self._lame.set_channels(1)
        self._lame.set_in_sample_rate(in_rate)
        self._lame.set_out_sample_rate(out_rate)
        self._lame.set_bit_rate(bit_rate // 1000)
        self._lame.set_quality(QUALITY)
        self._out_rate = out_rate
        self._first = not continued
        self._frames = FrameCounter()
        self._unfinished = b""

    def _encode(self, pcm: bytes) -> bytes:
        return self._framed(bytes(self._lame.encode(pcm)))

    def _flush(self) -> bytes:
        """Return the end of the stream, without the last frame if that holds padding alone."""
        encoded = self._framed(bytes(self._lame.flush()))
        n_out = -(-self._n_samples * self._out_rate // self._in_rate)
        wanted = -(-(n_out + ENCODER_DELAY + DECODER_DELAY) // samples_per_frame(self._out_rate))
        return encoded[: -self._frames.last_bytes] if self._frames.n_frames > wanted else encoded

    def _decodable_s(self) -> float:
        n_decoded = self._frames.n_whole * samples_per_frame(self._out_rate)
        return (n_decoded - ENCODER_DELAY - DECODER_DELAY) / self._out_rate

    def _framed(self, encoded: bytes) -> bytes:
        """Return whole frames, so that another stream may follow; put the Info frame before the first."""
        self._frames.feed(encoded)
        whole = self._unfinished + encoded
        end = len(whole) - self._frames.unfinished_bytes
        whole, self._unfinished = whole[:end], whole[end:]
        if self._first and whole:
            self._first = False
            return info_frame(whole[:4]) + whole
        return whole
