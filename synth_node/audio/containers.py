"""PCM in; Opus in Ogg, AAC in ADTS or FLAC out, through PyAV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from synth_node.audio.encoder import Encoder
from synth_node.audio.resample import Resampler, mono_frame

if TYPE_CHECKING:
    import av

OPUS_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
"""Rates in Hz that Opus takes; it is always played at 48 kHz. Source: RFC 6716, 2."""
OPUS_PLAYED_RATE: Final = 48_000
AAC_RATES: Final = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_AAC_FRAME_SAMPLES: Final = 1024
_AAC_BITS_PER_SAMPLE: Final = 6  # 6144 a frame; source: ISO/IEC 14496-3, 4.5.3.3
_MIN_AAC_RATE: Final = 32_000
_MIN_OPUS_RATE: Final = 12_000  # at 8 kHz FFmpeg's decoder stumbles over the last packet
_OPUS_BIT_RATES: Final = (6_000, 256_000)
_MIN_AAC_BIT_RATE: Final = 8_000
_PAGE_S: Final = 0.06
"""Of audio in one Ogg page; the page before the last is held back until the next is full."""
_FLAC_BLOCK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Codec:
    """How PyAV is asked for one format.

    name: of the encoder. container: of the muxer. sample_rate: in Hz. bit_rate: in bit/s, None: lossless.
    """

    name: str
    container: str
    sample_rate: int
    bit_rate: int | None
    codec_options: dict[str, str]
    container_options: dict[str, str]
    min_samples: int = 0
    """What is shorter is made as long with silence: FFmpeg knows ADTS by three frames, one is in front."""


def opus(in_rate: int, asked: int | None, bit_rate: int) -> Codec:
    """Return Opus in Ogg at the rate asked for, else the engine's or the next that Opus has, from 12 kHz.

    With half the bits it sounds at least as good as MP3: so many are used.
    """
    rate = asked or _at_least(max(in_rate, _MIN_OPUS_RATE), OPUS_RATES)
    bits = min(max(bit_rate // 2, _OPUS_BIT_RATES[0]), _OPUS_BIT_RATES[1])
    pages = {"page_duration": str(round(_PAGE_S * 1e6))}
    return Codec("libopus", "ogg", rate, bits, {"application": "audio", "frame_duration": "20"}, pages)


def aac(in_rate: int, asked: int | None, bit_rate: int) -> Codec:
    """Return AAC-LC in ADTS at the rate asked for, else the engine's, but 32 kHz at least.

    ADTS has no place to say what the encoder added: one frame in front, and the rest of the last one.
    At 32 kHz that is 32 to 64 ms, at 8 kHz it would be up to 256.
    """
    rate = asked or _at_least(max(in_rate, _MIN_AAC_RATE), AAC_RATES)
    bits = min(max(bit_rate, _MIN_AAC_BIT_RATE), _AAC_BITS_PER_SAMPLE * rate)
    return Codec("aac", "adts", rate, bits, {}, {}, _AAC_FRAME_SAMPLES + 1)


def _at_least(sample_rate: int, rates: tuple[int, ...]) -> int:
    return min((rate for rate in rates if rate >= sample_rate), default=rates[-1])


def flac(in_rate: int, asked: int | None) -> Codec:
    """Return FLAC at the rate asked for, else the engine's; a rate that FLAC cannot tell becomes 48 kHz."""
    rate = asked or in_rate
    if rate >= 65_536 and rate % 10:  # Source: RFC 9639, 9.1.2
        rate = 48_000
    block = max(16, round(_FLAC_BLOCK_S * rate))
    return Codec("flac", "flac", rate, None, {"frame_size": str(block)}, {"metadata_header_padding": "0"})


class _Sink:
    """A file that the muxer writes and the encoder empties."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self._data)
        self._data.clear()
        return data


class ContainerEncoder(Encoder):
    """One audio stream in one container. An Ogg stream gets a random serial number, so two can be chained."""

    def __init__(self, in_rate: int, codec: Codec) -> None:
        import av  # takes 70 ms and 30 MB, so only a node that needs it pays

        super().__init__(in_rate)
        self._codec = codec
        self._rate = codec.sample_rate
        self._resampler = Resampler(in_rate, self._rate) if in_rate != self._rate else None
        self._n_encoded = 0  # samples that the codec has taken, at its own rate
        self._end_s = 0.0  # where the last packet ends that was written
        self._pages = OggPages() if codec.container == "ogg" else None
        self._sink = _Sink()
        options = {"flush_packets": "1", **codec.container_options}
        self._container = av.open(self._sink, "w", format=codec.container, options=options)
        stream = self._container.add_stream(codec.name, rate=self._rate, options=codec.codec_options)
        self._stream = cast("av.AudioStream", stream)
        self._stream.layout = "mono"
        if codec.bit_rate is not None:
            self._stream.bit_rate = codec.bit_rate

    def close(self) -> None:
        """Release the codec and the muxer; what they write at their end goes nowhere."""
        self._container.close()

    def _encode(self, pcm: bytes) -> bytes:
        self._push(pcm if self._resampler is None else self._resampler.resample(pcm))
        return self._written()

    def _flush(self) -> bytes:
        if self._resampler is not None:
            self._push(self._resampler.flush())
        self._push(bytes(2 * max(0, self._codec.min_samples - self._n_encoded)))
        self._mux(None)
        self._container.close()
        return self._written()

    def _decodable_s(self) -> float:
        return self._end_s if self._pages is None else self._pages.end_s

    def _push(self, pcm: bytes) -> None:
        if pcm:
            self._mux(mono_frame(pcm, self._rate, self._n_encoded))
            self._n_encoded += len(pcm) // 2

    def _mux(self, frame: av.AudioFrame | None) -> None:
        for packet in self._stream.encode(frame):
            # The codec's delay is in it: the first sample's packet does not begin at 0 but before.
            if packet.pts is not None and packet.duration is not None and packet.time_base is not None:
                self._end_s = float((packet.pts + packet.duration) * packet.time_base)
            self._container.mux(packet)

    def _written(self) -> bytes:
        data = self._sink.take()
        if self._pages is not None:
            self._pages.feed(data)
        return data


class OggPages:
    """Reads whole Ogg pages of one Opus stream: how far into the sound they reach.

    Source: RFC 3533, 6; RFC 7845, 4.
    """

    def __init__(self) -> None:
        self.end_s = 0.0
        """Seconds that can be played after the pages so far."""
        self._pre_skip = 0

    def feed(self, pages: bytes) -> None:
        position = 0
        while position < len(pages):
            granule = int.from_bytes(pages[position + 6 : position + 14], "little", signed=True)
            body = position + 27 + pages[position + 26]
            if pages[body : body + 8] == b"OpusHead":
                self._pre_skip = int.from_bytes(pages[body + 10 : body + 12], "little")
            elif granule > 0:
                self.end_s = (granule - self._pre_skip) / OPUS_PLAYED_RATE
            position = body + sum(pages[position + 27 : body])
