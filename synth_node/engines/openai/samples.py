"""The audio of an OpenAI-compatible server: what kind it is, and its samples. No I/O."""

from __future__ import annotations

import struct
import sys
from typing import Final

from antiphon.errors import EngineFailed
from synth_node.engines.openai.settings import PREFIX
from synth_node.network.trouble import Doubtful, Failing, clean

_ENCODED: Final = ("mpeg", "mp3", "ogg", "opus", "flac", "aac", "mp4", "m4a", "webm")
_MAGIC: Final = (b"ID3", b"OggS", b"fLaC")
TEXT_INSTEAD: Final = "the server answered text where audio was asked for"
_TEXT: Final = (b"{", b"<")
_MAX_TEXT_BYTES: Final = 4096
_NOT_IN_TEXT: Final = bytes({*range(32), 127} - set(b"\t\n\r"))
"""Samples are hardly ever without these for long."""
_ENDLESS: Final = sys.maxsize
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_RATE_DIGITS: Final = 10
_NO_SIZE: Final = 0x7FFF_0000
"""A WAV file whose length was not known when it began says this or more, or 0."""


def check_kind(content_type: str, asked: str, sample_rate: int) -> None:
    """Look at the type of an answer with status 200.

    asked: `pcm` or `mp3`. sample_rate: in Hz, of the samples that are expected.

    Raises:
        Doubtful: it cannot be what was asked for, and may not be the next time either.
        EngineFailed: it is some text.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind == "text/html":
        raise Doubtful(f"{PREFIX}BASE_URL leads to a web page, not to an OpenAI-compatible server")
    if kind.startswith("text/") or kind.endswith("json"):
        raise EngineFailed(f"the server answered {clean(kind)} where audio was asked for")
    if asked == "pcm":
        if any(name in kind for name in _ENCODED):
            raise _encoded(clean(kind))
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name == "rate" and value.isdecimal() and len(value) <= _MAX_RATE_DIGITS:
                _check_rate(int(value), sample_rate)


def _encoded(kind: str) -> Doubtful:
    return Doubtful(f"the server sends {kind} where pcm was asked for: set {PREFIX}FORMAT=mp3")


def _check_rate(found: int, sample_rate: int) -> None:
    if found != sample_rate:
        raise Doubtful(f"the server's samples have {found} Hz: set {PREFIX}SAMPLE_RATE={found}")


class Samples:
    """Takes mono s16le samples out of a body that is nothing else, or a WAV file though it was not asked for.

    sample_rate: in Hz, expected.
    """

    def __init__(self, sample_rate: int) -> None:
        self._sample_rate = sample_rate
        self._head = b""
        self._left: int | None = None

    def feed(self, data: bytes) -> bytes:
        """Return the samples of what comes next. Raises Doubtful or EngineFailed."""
        if self._left is None:
            self._head += data
            place = self._place()
            if place is None:
                return b""
            data, self._head, self._left = self._head[place[0] :], b"", place[1]
        data = data[: self._left]
        self._left -= len(data)
        return data

    @property
    def text(self) -> bytes:
        """What came so far if it is JSON or a page, whatever it was called; else nothing."""
        return self._head if self._left is None and _is_text(self._head) else b""

    def end(self) -> bytes:
        """Return what was held back. Raises Failing if a WAV file is shorter than it says."""
        if self._left is None and not self._head.startswith(b"RIFF"):
            return self._head
        if self._left is None or 0 < self._left < _NO_SIZE:
            raise Failing("the server's WAV file ended early")
        return b""

    def _place(self) -> tuple[int, int] | None:
        """Return where the samples begin and how many bytes they are; None while that cannot be told."""
        head = self._head
        if len(head) < 12 and (len(head) < 4 or head.startswith(b"RIFF")):
            return None
        if _is_text(head):
            if len(head) > _MAX_TEXT_BYTES:
                raise EngineFailed(TEXT_INSTEAD)
            return None
        if head.startswith(_MAGIC):
            raise _encoded("an encoded file")
        if not head.startswith(b"RIFF") or head[8:12] != b"WAVE":
            return 0, _ENDLESS
        at, format_found = 12, False
        while len(head) >= at + 8:
            name, size = struct.unpack_from("<4sI", head, at)
            if name == b"data":
                if not format_found:
                    raise EngineFailed("the server's WAV file does not tell its format")
                return at + 8, size if 0 < size < _NO_SIZE else _ENDLESS
            if name == b"fmt " and len(head) >= at + 24:
                self._check_format(head[at + 8 : at + 24])
                format_found = True
            at += 8 + size + size % 2
        if len(head) > _MAX_HEAD_BYTES:
            raise EngineFailed("there are no samples in the server's WAV file")
        return None

    def _check_format(self, format: bytes) -> None:
        """Check the chunk `fmt `: tag, channels, sample rate, bytes/s, bytes/frame, bits/sample."""
        tag, n_channels, rate, _, _, n_bits = struct.unpack("<HHIIHH", format)
        if tag not in (1, 0xFFFE) or n_channels != 1 or n_bits != 16:
            is_now = f"{n_channels} channels of {n_bits} bits, format {tag}"
            raise Doubtful(f"the server's WAV file has {is_now}: set {PREFIX}FORMAT=mp3")
        _check_rate(rate, self._sample_rate)


def _is_text(body: bytes) -> bool:
    return body.startswith(_TEXT) and len(body.translate(None, _NOT_IN_TEXT)) == len(body)
