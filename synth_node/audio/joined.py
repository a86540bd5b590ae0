"""All of an utterance's segments through one encoder: no gap and no header at a join."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from antiphon.events import Position
from synth_node.audio.encoder import Encoder
from synth_node.audio.pipeline import EncodedAudio

_FINE_S: Final = 0.4
"""So much of what follows a join is encoded in small steps, so that bytes can be cut close to it.

It is more than any encoder holds back: only then are the bytes out that bring a listener past the join.
"""
_STEP_S: Final = 0.02
_LONGEST_S: Final = 0.5
"""In so little, even raw samples fit into one message, which tells how far a listener has come."""
_SILENCE_S: Final = 1.0
_SILENT_RATE: Final = 24_000


class Joined:
    """One encoder, fed with one segment after another. Blocking; one thread at a time.

    make: returns the encoder for samples of a rate in Hz. skip_s: seconds of the first segment to leave out.
    """

    def __init__(self, make: Callable[[int], Encoder], *, skip_s: float = 0.0) -> None:
        self._make = make
        self._encoder: Encoder | None = None
        self._skip_s = skip_s
        self._skip_bytes = 0
        self._rate = 1
        self._segment = 0
        self._starts: list[tuple[int, int]] = []  # segment, its first sample in the encoder's input
        self._speech_start = 0
        self._lead_ms = 0
        self._fine_bytes = 0
        self._n_told = 0
        self.heard = False
        """Whether any of it was encoded."""

    def begin(self, segment: int) -> None:
        """What follows is the sound of this segment, and then the pause behind it."""
        changes, self._segment = segment != self._segment, segment
        if changes:
            self._skip_bytes = 0  # an engine that does not repeat itself may have made less this time
        if self._encoder is not None:
            self._mark(self._encoder, changes=changes)

    def _mark(self, encoder: Encoder, *, changes: bool) -> None:
        """Note where a segment begins: before the first sample that is heard, if some are left out."""
        self._speech_start = encoder.n_samples - self._skip_bytes // 2
        if changes:
            if self._starts:
                self._fine_bytes = 2 * round(_FINE_S * self._rate)
            self._starts.append((self._segment, self._speech_start))

    def _start(self, rate: int) -> Encoder:
        self._rate = rate
        self._encoder = self._make(rate)
        self._skip_bytes = 2 * round(self._skip_s * rate)
        self._mark(self._encoder, changes=True)
        return self._encoder

    def time_ms(self, seconds: float) -> int:
        """Return when in this run's audio something is heard, `seconds` after the segment's beginning."""
        start_s = -self._skip_s if self._encoder is None else self._speech_start / self._rate
        return round(1000 * (start_s + seconds))

    def encode(self, rate: int, pcm: bytes) -> list[EncodedAudio]:
        """Take mono s16le samples at `rate` Hz, the same every time; return what is encoded so far."""
        pieces: list[EncodedAudio] = []
        encoder = self._encoder or self._start(rate)
        if self._lead_ms:
            lead_ms, self._lead_ms = self._lead_ms, 0
            pieces += self.silence(rate, lead_ms)
            self.begin(self._segment)
        if self._skip_bytes:
            skipped = pcm[: self._skip_bytes]
            self._skip_bytes -= len(skipped)
            pcm = pcm[len(skipped) :]
        step, longest = 2 * round(_STEP_S * rate), 2 * round(_LONGEST_S * rate)
        while pcm:
            size = step if self._fine_bytes > 0 else longest
            self._fine_bytes -= size
            self._add(pieces, encoder, encoder.encode(pcm[:size]))
            pcm = pcm[size:]
        return pieces

    def silence(self, rate: int | None, ms: int) -> list[EncodedAudio]:
        """Put `ms` milliseconds of silence in, exact to the sample.

        rate: of the samples to come, in Hz; if it is not known yet, the silence waits for the first of them.
        """
        if self._encoder is not None:
            rate = self._rate
        elif rate is None:
            self._lead_ms += ms
            return []
        assert rate is not None
        pieces = []
        rest = 2 * round(ms * rate / 1000)
        while rest > 0:
            n_bytes = min(rest, 2 * round(_SILENCE_S * rate))
            pieces += self.encode(rate, bytes(n_bytes))
            rest -= n_bytes
        return pieces

    def flush(self) -> list[EncodedAudio]:
        """Return the end of the audio; nothing if there was none."""
        lead_ms, self._lead_ms = self._lead_ms, 0
        pieces = self.silence(_SILENT_RATE, lead_ms)  # of a text that is all pauses
        if self._encoder is not None:
            self._add(pieces, self._encoder, self._encoder.flush())
        return pieces

    def _add(self, pieces: list[EncodedAudio], encoder: Encoder, data: bytes) -> None:
        if data:
            self.heard = True
            seconds = (encoder.n_samples - self._n_told) / self._rate
            self._n_told = encoder.n_samples
            pieces.append(EncodedAudio(data, seconds, self._position(encoder.audible_s)))

    def _position(self, audible_s: float) -> Position:
        while len(self._starts) > 1 and self._starts[1][1] <= audible_s * self._rate:
            self._starts.pop(0)
        segment, start = self._starts[0]
        return Position(segment, max(0.0, audible_s - start / self._rate), audible_s)

    def close(self) -> None:
        """Release the encoder."""
        if self._encoder is not None:
            self._encoder.close()
