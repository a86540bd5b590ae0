"""Whether a WAV file has all the samples that it says. No codec, no I/O."""

from __future__ import annotations

import struct
from typing import Final

_NO_SIZE: Final = 0x7FFF_0000
"""A file whose length was not known when it began says this or more, or 0."""
_FILE_HEADER_BYTES: Final = 12
_CHUNK: Final = struct.Struct("<4sI")


class WavLength:
    """Follows the chunks of a WAV file as it comes. missing: bytes of samples that are still to come."""

    def __init__(self) -> None:
        self.missing = 0
        self._held = b""
        self._skip = 0
        """Bytes until the header of the next chunk."""
        self._found = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._found:
            self.missing = max(0, self.missing - len(data))
            return
        self._held += data
        while not self._found and len(self._held) >= self._skip + _CHUNK.size:
            name, size = _CHUNK.unpack_from(self._held, self._skip)
            self._held = self._held[self._skip :]
            self._found = name == b"data"
            self._skip = _FILE_HEADER_BYTES if name == b"RIFF" else _CHUNK.size + size + size % 2
            if self._found and size < _NO_SIZE:
                self.missing = max(0, _CHUNK.size + size - len(self._held))
        n_skipped = min(self._skip, len(self._held))
        self._held, self._skip = self._held[n_skipped:], self._skip - n_skipped
