"""Any audio file in, mono 16-bit PCM out, through PyAV; the file may still be growing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from antiphon.errors import BadAudio
from synth_node.audio.wav import WavLength

if TYPE_CHECKING:
    import av


class PulledFile:
    """A file that is read once, from front to back.

    pull: returns the next bytes, None at the end; may block.
    """

    def __init__(self, pull: Callable[[], bytes | None]) -> None:
        self.wav = WavLength()
        self._pull = pull
        self._rest = b""
        self.failure: Exception | None = None
        """What `pull` raised; the reader sees an end of file instead."""

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, nothing at the end."""
        if not self._rest and self.failure is None:
            try:
                self._rest = self._pull() or b""
                self.wav.feed(self._rest)
            except Exception as exc:  # must not pass through the C library; raised again by `decoded`
                self.failure = exc
        data = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(data) :]
        return data


def decoded(file: PulledFile, sample_rate: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (sample rate in Hz, mono s16le samples) as `file` comes. Blocking.

    sample_rate: to resample to, in Hz; None keeps the file's own.

    Raises:
        BadAudio: the bytes cannot be decoded, or a WAV file is cut off. And what the file's `pull` raised.
    """
    import av  # takes 70 ms and 30 MB, so only a node that needs it pays

    try:
        with av.open(file, mode="r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise BadAudio("the engine's file has no audio in it")
            stream = container.streams.audio[0]
            resampler = av.AudioResampler(format="s16", layout="mono", rate=sample_rate or stream.rate)
            for frame in container.decode(stream):
                frame.pts = None
                yield from _samples(resampler.resample(frame))
            yield from _samples(resampler.resample(None))
            is_wav = container.format.name == "wav"
    except (av.FFmpegError, ValueError, IndexError) as exc:
        raise file.failure or BadAudio(f"the engine's file cannot be decoded: {exc}") from exc
    if file.failure is not None:
        raise file.failure
    if is_wav and file.wav.missing:
        raise BadAudio(f"the engine's WAV file is cut off: {file.wav.missing} bytes of samples are missing")


def _samples(frames: list[av.AudioFrame]) -> Iterator[tuple[int, bytes]]:
    for frame in frames:
        if frame.samples:
            yield frame.sample_rate, bytes(frame.planes[0])[: 2 * frame.samples]
