"""PCM in, the asked format out: which encoder makes it, and at which sample and bit rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from antiphon.errors import InvalidRequest, UnsupportedFormat
from antiphon.mp3 import SAMPLE_RATES as MP3_RATES
from antiphon.request import CONTENT_TYPES
from synth_node.audio.containers import AAC_RATES, OPUS_RATES, ContainerEncoder, aac, flac, opus
from synth_node.audio.encoder import Encoder
from synth_node.audio.mp3 import Mp3Encoder, mp3_bit_rate, mp3_sample_rate, speech_bit_rate
from synth_node.audio.pcm import PcmEncoder, wav_header

__all__ = ["Encoder", "Mp3Encoder", "check_format", "make_encoder", "mp3_bit_rate", "mp3_sample_rate"]

_RATES: Final[Mapping[str, tuple[int, ...]]] = {"mp3": MP3_RATES, "opus": OPUS_RATES, "aac": AAC_RATES}
"""In Hz; the other formats have any."""


def check_format(format: str, sample_rate: int | None) -> None:
    """Refuse what `make_encoder` could not make.

    Raises:
        InvalidRequest: the format has no such sample rate.
        UnsupportedFormat: no such format is made here.
    """
    if format not in CONTENT_TYPES:
        raise UnsupportedFormat(f"{format} is not made here, only {', '.join(CONTENT_TYPES)}", param="format")
    rates = _RATES.get(format)
    if rates is not None and sample_rate is not None and sample_rate not in rates:
        names = ", ".join(str(rate) for rate in rates)
        raise InvalidRequest(
            f"{format} has no sample rate of {sample_rate} Hz, only {names}", param="sample_rate"
        )


def make_encoder(
    format: str, *, in_rate: int, sample_rate: int | None, bit_rate: int, continued: bool = False
) -> Encoder:
    """Return an encoder of mono s16le samples at `in_rate` Hz, 1000 to 384000.

    sample_rate: of the audio, in Hz; None is the engine's, or the nearest above it that suits the format.
    bit_rate: in bit/s, such that an mp3 of 16 to 24 kHz sounds right. Slower and faster sound gets half and
    one and a half times as much, AAC the same as mp3, Opus half of it; what the format cannot have becomes
    the nearest it can. The other formats have no choice.
    continued: the bytes go on after those of an encoder that was lost with its node. There is no second
    header then, but in Ogg: that goes on with a stream of its own, which players chain to the first.

    Raises:
        InvalidRequest: the format has no such sample rate.
        UnsupportedFormat: no such format is made here, or it cannot be continued.
    """
    check_format(format, sample_rate)
    match format:
        case "mp3":
            out_rate = mp3_sample_rate(in_rate, sample_rate)
            return Mp3Encoder(in_rate, out_rate, mp3_bit_rate(bit_rate, out_rate), continued=continued)
        case "opus":
            return ContainerEncoder(
                in_rate, opus(in_rate, sample_rate, _suited(bit_rate, in_rate, sample_rate))
            )
        case "aac":
            return ContainerEncoder(
                in_rate, aac(in_rate, sample_rate, _suited(bit_rate, in_rate, sample_rate))
            )
        case "flac":
            if continued:
                raise UnsupportedFormat("flac cannot be continued: its frames are numbered", param="format")
            return ContainerEncoder(in_rate, flac(in_rate, sample_rate))
        case _:
            out_rate = sample_rate or in_rate
            head = wav_header(out_rate) if format == "wav" and not continued else b""
            return PcmEncoder(in_rate, out_rate, head)


def _suited(bit_rate: int, in_rate: int, sample_rate: int | None) -> int:
    """Return the bit rate for the sound that there is: what is resampled upwards holds no more of it."""
    return speech_bit_rate(bit_rate, min(in_rate, sample_rate or in_rate))
