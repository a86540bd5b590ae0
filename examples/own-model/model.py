"""A model of your own, complete: text in, one audio file out. Replace the body; keep the signature.

This one speaks no language: it hums every letter as a note, so that it runs anywhere without a download.
"""

import io
import math
import struct
import wave

SAMPLE_RATE = 22_050  # Hz
_NOTE_S = 0.12
_VOICES = {"low": 110.0, "high": 220.0}  # pitch of the lowest note in Hz


def tts_api(text: str, *, voice: str = "low", speed: float = 1.0) -> bytes:
    """Return a wav file. A failure raised here reaches the caller as an error, with this text."""
    pcm = bytearray()
    for letter in text:
        pcm += _note(letter, _VOICES[voice], _NOTE_S / speed)
    return _wav(bytes(pcm))


tts_api.voices = list(_VOICES)  # callers see them, and any other voice is refused


def _note(letter: str, base: float, seconds: float) -> bytes:
    """Return one letter as a note that fades in and out, as 16-bit samples; a space is silence."""
    n_samples = int(seconds * SAMPLE_RATE)
    frequency = base * 2 ** (ord(letter) % 24 / 12)
    volume = 0.0 if letter.isspace() else 0.3 * 32767
    step = 2 * math.pi * frequency / SAMPLE_RATE
    samples = (int(volume * math.sin(math.pi * i / n_samples) * math.sin(step * i)) for i in range(n_samples))
    return struct.pack(f"<{n_samples}h", *samples)


def _wav(pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm)
    return file.getvalue()
