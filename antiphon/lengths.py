"""A complete file that tells its own length, made of one that was streamed. No codec, no I/O."""

from __future__ import annotations

from functools import cache
from typing import Final

from antiphon import mp3

_UNKNOWN: Final = b"\xff\xff\xff\xff"
_STREAMINFO: Final = b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22"
"""How a FLAC file begins; the high bit says that no other metadata follows."""
_FLAC_TAIL_BYTES: Final = 256 * 1024
"""The last frame is looked for so far from the end."""
_FLAC_CANDIDATES: Final = 16


def with_length(audio: bytes, format: str) -> bytes:
    """Return a complete file with its length filled in, or as it is if it tells its length or cannot.

    format: a key of CONTENT_TYPES. All other bytes, and what is no such file, stay unchanged. An Ogg file
    tells its length at its end, AAC in ADTS and bare PCM nowhere.
    """
    match format:
        case "mp3":
            return mp3.with_length(audio)
        case "wav":
            return _wav_with_length(audio)
        case "flac":
            return _flac_with_length(audio)
        case _:
            return audio


def _wav_with_length(wav: bytes) -> bytes:
    """Fill in the lengths of the file and of its samples where they are unknown."""
    if wav[:4] != b"RIFF" or wav[8:12] != b"WAVE" or len(wav) - 8 >= 0xFFFF_FFFF:
        return wav
    position = 12
    while wav[position : position + 4] != b"data":
        if position + 8 > len(wav):
            return wav
        size = int.from_bytes(wav[position + 4 : position + 8], "little")
        position += 8 + size + size % 2
    start = position + 8
    if wav[4:8] != _UNKNOWN or wav[position + 4 : start] != _UNKNOWN:
        return wav
    sizes = [(len(wav) - at).to_bytes(4, "little") for at in (8, start)]
    return b"".join((wav[:4], sizes[0], wav[8 : position + 4], sizes[1], wav[start:]))


def _flac_with_length(flac: bytes) -> bytes:
    """Fill in the number of samples, which the last frame tells, where it is unknown.

    Source: RFC 9639, 8.2.
    """
    if not flac.startswith(_STREAMINFO) or len(flac) < 42:
        return flac
    block = int.from_bytes(flac[10:12], "big")
    known = int.from_bytes(flac[21:26], "big") & 0xF_FFFF_FFFF
    if known or flac[8:10] != flac[10:12]:  # told already, or blocks of changing length
        return flac
    n_samples = _flac_samples(flac, block)
    if not 0 < n_samples <= 0xF_FFFF_FFFF:
        return flac
    return flac[:21] + ((flac[21] & 0xF0) << 32 | n_samples).to_bytes(5, "big") + flac[26:]


def _flac_samples(flac: bytes, block: int) -> int:
    """Return how many samples the file has that ends with a whole frame; 0 if none is found there."""
    start = len(flac)
    earliest = max(42, start - _FLAC_TAIL_BYTES)
    for _ in range(_FLAC_CANDIDATES):
        start = flac.rfind(b"\xff\xf8", earliest, start)
        if start < 0:
            break
        frame = flac[start:]
        n_samples = _end_of_frame(frame, block)
        if n_samples and _crc(frame, 16, 0x8005) == 0:  # what ends with its own CRC has one of 0
            return n_samples
    return 0


def _end_of_frame(frame: bytes, block: int) -> int:
    """Return how many samples there are up to the frame's end; 0 if it does not begin with a frame header.

    block: samples of every frame but the last. Source: RFC 9639, 9.1.
    """
    if len(frame) < 6:
        return 0
    # The frame's number is coded like UTF-8: as many ones in front as it has bytes, none for a single one.
    n_bytes = 8 - (frame[4] ^ 0xFF).bit_length() or 1
    number = frame[4] & (0x7F if n_bytes == 1 else 0x7F >> n_bytes)
    for byte in frame[5 : 4 + n_bytes]:
        number = number << 6 | byte & 0x3F
    position = 4 + n_bytes
    code = frame[2] >> 4
    if code in (6, 7):  # the length of the block stands here
        after = position + code - 5
        size = int.from_bytes(frame[position:after], "big") + 1
        position = after
    else:
        size = 256 << code - 8 if code >= 8 else 576 << code - 2 if code >= 2 else 192 * code
    position += {12: 1, 13: 2, 14: 2}.get(frame[2] & 15, 0)  # the sample rate, if it stands here
    if not 0 < size <= block or _crc(frame[: position + 1], 8, 0x07):
        return 0
    return number * block + size


def _crc(data: bytes, n_bits: int, polynomial: int) -> int:
    """Return the cyclic redundancy check of `data`: high bit first, from 0, as FLAC has it."""
    table, value, shift, mask = _crc_table(n_bits, polynomial), 0, n_bits - 8, (1 << n_bits) - 1
    for byte in data:
        value = (value << 8 & mask) ^ table[value >> shift ^ byte]
    return value


@cache
def _crc_table(n_bits: int, polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << n_bits - 8
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> n_bits - 1 else 0)
            value &= (1 << n_bits) - 1
        table.append(value)
    return tuple(table)
