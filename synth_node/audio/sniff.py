"""What audio format some bytes are in. No codec, no I/O."""

from __future__ import annotations

from typing import Final

from antiphon.mp3 import is_frame_header

ENOUGH_BYTES: Final = 64
"""With so many bytes of a file, `sniff` knows as much as with all of them."""


def sniff(data: bytes) -> str | None:
    """Return the format of the file that begins with `data`; None if it is no audio known here.

    The name is one of the request formats, or another one that can be converted (ogg, mp4, webm, aiff, au).
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"fLaC":
        return "flac"
    if data[:4] == b"OggS":
        return "opus" if b"OpusHead" in data[:ENOUGH_BYTES] else "ogg"
    if data[:3] == b"ID3" or is_frame_header(data):
        return "mp3"
    if len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0:  # ADTS: layer bits are zero
        return "aac"
    if data[4:8] == b"ftyp":
        return "mp4"
    if data[:4] == b"\x1a\x45\xdf\xa3":
        return "webm"
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if data[:4] == b".snd":
        return "au"
    return None
