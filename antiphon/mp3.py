"""MP3 bytes: frame headers, lengths, durations, and the Info frame that comes first. No codec, no I/O."""

from __future__ import annotations

from functools import cache
from typing import Final

# Source: ISO/IEC 11172-3, 2.4.2.3; ISO/IEC 13818-3 for 16-24 kHz; "MPEG 2.5" for 8-12 kHz.
_VERSION_BITS: Final = {0b11: (44100, 48000, 32000), 0b10: (22050, 24000, 16000), 0b00: (11025, 12000, 8000)}
_MPEG1_KBPS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
SAMPLE_RATES: Final = tuple(sorted(rate for rates in _VERSION_BITS.values() for rate in rates))

ENCODER_DELAY: Final = 576
"""Samples that LAME puts in front of its input."""
DECODER_DELAY: Final = 529
"""Samples that every decoder puts in front of its output."""
_INFO_BYTES: Final = 4 + 17 + 52
"""Longest Info frame without padding: header, side information, tag."""
_ID3V1_BYTES: Final = 128
_MAX_GAP_BYTES: Final = 64 * 1024


def samples_per_frame(sample_rate: int) -> int:
    """Return the samples of one Layer III frame at `sample_rate` in Hz."""
    return 1152 if sample_rate >= 32_000 else 576


def frame_bytes(bit_rate: int, sample_rate: int, *, padded: bool = False) -> int:
    """Return the length of one Layer III frame in bytes, header included.

    bit_rate: in bit/s. sample_rate: in Hz. padded: the frame carries one padding byte.

    Source: ISO/IEC 11172-3, 2.4.3.1; ISO/IEC 13818-3 for the lower sample rates.
    """
    return samples_per_frame(sample_rate) // 8 * bit_rate // sample_rate + padded


def legal_bit_rate(bit_rate: int, sample_rate: int) -> int:
    """Return the highest legal constant bit rate in bit/s up to `bit_rate`, or else the lowest."""
    table: tuple[int, ...] = _MPEG1_KBPS if sample_rate >= 32_000 else _MPEG2_KBPS
    if sample_rate < 16_000:
        table = table[:8]  # LAME knows no more than 64 kbit/s here
    return 1000 * max((kbps for kbps in table if kbps * 1000 <= bit_rate), default=table[0])


@cache
def _headers() -> dict[bytes, tuple[int, int]]:
    """Return for the first three bytes of every Layer III header: frame length, sample rate."""
    table = {}
    for version, rates in _VERSION_BITS.items():
        for protection in (0, 1):
            second = 0b1110_0010 | version << 3 | protection
            for i_rate, sample_rate in enumerate(rates):
                for i_bit_rate, kbps in enumerate(_MPEG1_KBPS if version == 0b11 else _MPEG2_KBPS, 1):
                    for low in range(4):  # padding and the private bit
                        third = i_bit_rate << 4 | i_rate << 2 | low
                        length = frame_bytes(kbps * 1000, sample_rate, padded=bool(low & 2))
                        table[bytes((0xFF, second, third))] = length, sample_rate
    return table


@cache
def _lengths(sample_rate: int) -> dict[bytes, int]:
    return {key: length for key, (length, rate) in _headers().items() if rate == sample_rate}


def is_frame_header(data: bytes) -> bool:
    """Return whether `data` begins with a Layer III frame header."""
    return data[:3] in _headers()


class FrameCounter:
    """Counts the samples of an MP3 file that comes in pieces; tags and a Xing or Info frame have none."""

    def __init__(self) -> None:
        self.sample_rate = 0
        """Of the last frame, in Hz; 0 before the first."""
        self.n_frames = 0
        self.last_bytes = 0
        """Length of the last frame that began."""
        self._skip = 0  # bytes of the next piece that belong to a frame or tag already passed
        self._rest = b""  # bytes of the last piece that are not understood yet
        self._gap = 0

    @property
    def n_whole(self) -> int:
        """Frames of which every byte has come."""
        return self.n_frames - (self._skip > 0)

    @property
    def unfinished_bytes(self) -> int:
        """How many bytes at the end of all that has come are not a whole frame."""
        return self.last_bytes - self._skip if self._skip else len(self._rest)

    def feed(self, data: bytes) -> float:
        """Return the duration in seconds of the frames that begin in `data`.

        Raises:
            ValueError: what comes here is no MP3.
        """
        if self._rest:
            data, self._rest = self._rest + data, b""
        position, seconds = self._skip, 0.0
        last = len(data) - 4
        while position <= last:
            if self.sample_rate:
                # Nearly all frames are counted in this loop: it is what an utterance costs.
                length_of, lengths = _lengths(self.sample_rate).get, []
                while position <= last and (length := length_of(data[position : position + 3])):
                    position += length
                    lengths.append(length)
                if lengths:
                    self.last_bytes = lengths[-1]
                self.n_frames += len(lengths)
                seconds += len(lengths) * samples_per_frame(self.sample_rate) / self.sample_rate
                if position > last:
                    break
            position, known = self._first_of_a_kind(data, position)
            if not known:
                break
        self._rest = data[position:]
        self._skip = max(0, position - len(data))
        return seconds

    def _first_of_a_kind(self, data: bytes, position: int) -> tuple[int, bool]:
        """Pass what is no frame of the stream's own sample rate; return where to go on, and False to wait."""
        entry = _headers().get(data[position : position + 3])
        if entry is None:
            return self._resync(data, position)
        length, sample_rate = entry
        if self.n_frames == 0:
            if position + min(length, 64) > len(data):
                return position, False  # whether it is an Info frame is not known yet
            if _is_info(data, position):
                self.n_frames, self.last_bytes, self.sample_rate = 1, length, sample_rate
                return position + length, True
        self.sample_rate = sample_rate
        return position, True

    def finish(self) -> None:
        """Raise ValueError unless there was at least one frame."""
        if self.n_frames == 0:
            raise ValueError("there is no MP3 frame in it")

    def _resync(self, data: bytes, position: int) -> tuple[int, bool]:
        """Return where to go on when no frame begins at `position`, and False to wait for more."""
        tag = data[position : position + 10]
        if tag[:3] == b"ID3":
            if len(tag) < 10:
                return position, False
            size = tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]
            return position + 10 + size + (10 if tag[5] & 0x10 else 0), True
        if tag[:3] == b"TAG":
            return position + _ID3V1_BYTES, True
        following = data.find(b"\xff", position + 1)
        following = len(data) if following < 0 else following
        self._gap += following - position
        if self._gap > _MAX_GAP_BYTES:
            raise ValueError(f"no MP3 frame in {self._gap} bytes")
        return following, True


def _is_info(data: bytes, position: int) -> bool:
    second, fourth = data[position + 1], data[position + 3]
    mono = fourth >> 6 == 0b11
    side_info = (17 if mono else 32) if second >> 3 & 3 == 0b11 else (9 if mono else 17)
    crc = 0 if second & 1 else 2
    at = position + 4 + crc + side_info
    return data[at : at + 4] in (b"Xing", b"Info") or data[position + 36 : position + 40] == b"VBRI"


def info_frame(first_header: bytes) -> bytes:
    """Return the frame that tells a decoder how many samples to leave out at the start of a stream.

    first_header: the four bytes of the stream's first frame.

    The length of the stream is not known when this is written, so no frame count is given. Without one,
    FFmpeg (and what is built on it, browsers too) plays the Info frame itself as silence: its samples are
    added to the delay. Source: the "LAME tag" specification; libavformat/mp3dec.c.
    """
    _, sample_rate = _headers()[first_header[:3]]
    return _info_frame(first_header, b"", ENCODER_DELAY + samples_per_frame(sample_rate))


def with_length(mp3: bytes, n_samples: int | None = None) -> bytes:
    """Return a complete stream that `info_frame` began with its length filled in; other bytes unchanged.

    Its duration is then known without decoding it, and it can be searched. n_samples: the length at the
    stream's own sample rate, if known; what the encoder added behind it is then left out too.
    """
    if not is_frame_header(mp3):
        return mp3
    length, sample_rate = _headers()[mp3[:3]]
    if mp3[:length] != info_frame(mp3[:4]):
        return mp3
    counter = FrameCounter()
    counter.feed(mp3[length:])
    end = 0
    if n_samples is not None:
        end = counter.n_frames * samples_per_frame(sample_rate) - ENCODER_DELAY - n_samples
    lengths = b"".join(n.to_bytes(4, "big") for n in (counter.n_frames, len(mp3)))
    return _info_frame(mp3[:4], lengths, ENCODER_DELAY, max(0, min(end, 4095))) + mp3[length:]


def _info_frame(first_header: bytes, lengths: bytes, start: int, end: int = 0) -> bytes:
    """lengths: the counts of frames and bytes, or nothing. start, end: samples to leave out there."""
    header = _roomy(bytes((first_header[0], first_header[1] | 1, first_header[2] & ~2, first_header[3])))
    mpeg1 = header[1] >> 3 & 3 == 0b11
    side_info = bytes(17 if mpeg1 else 9)  # mono
    kbps = (_MPEG1_KBPS if mpeg1 else _MPEG2_KBPS)[(header[2] >> 4) - 1]
    tag = b"".join(
        (
            b"Info" + bytes((0, 0, 0, 3 if lengths else 0)) + lengths,
            b"LAME3.100",
            b"\x01" + bytes(10),  # constant bit rate; nothing on lowpass, peak, gain and flags
            bytes((min(kbps, 255),)) + (start << 12 | end).to_bytes(3, "big"),
            bytes(12),
        )
    )
    return (header + side_info + tag).ljust(_headers()[header[:3]][0], b"\0")


def _roomy(header: bytes) -> bytes:
    """Return `header` at its bit rate, or the lowest at which an Info frame has room."""
    while _headers()[header[:3]][0] < _INFO_BYTES:
        header = bytes((header[0], header[1], header[2] + 0x10, header[3]))
    return header
