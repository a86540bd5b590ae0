"""Program: one text on standard input, spoken by espeak-ng as PCM on standard output.

Standard input is a JSON object {text, language, words_per_minute, volume, pitch, sample_rate}; see `Order`.
Standard output is mono s16le at that sample rate.
"""

from __future__ import annotations

import ctypes
import json
import sys
from fractions import Fraction
from typing import Any, TypedDict

import av
import espeakng_loader

# speak_lib.h
SYNCHRONOUS = 2
DONT_EXIT = 0x8000
UTF8 = 1
RATE, VOLUME, PITCH = 1, 2, 3
TAIL_SAMPLES = 1024
"""Silence behind the input, so that the resampler gives out all of it."""


class Order(TypedDict):
    """What to speak.

    language: an espeak-ng voice, with a variant: cmn+f2. volume: 0 to 200, 100 is normal. pitch: 0 to 99.
    sample_rate: of the output, in Hz.
    """

    text: str
    language: str
    words_per_minute: int
    volume: int
    pitch: int
    sample_rate: int


def spoken(order: Order) -> tuple[bytes, int]:
    """Return mono s16le samples and their rate in Hz."""
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    data = espeakng_loader.get_data_path().encode()
    rate = int(library.espeak_Initialize(SYNCHRONOUS, 0, data, DONT_EXIT))
    pcm = bytearray()

    def take(samples: Any, n_samples: int, _events: Any) -> int:
        if samples and n_samples > 0:
            pcm.extend(ctypes.string_at(samples, 2 * n_samples))
        return 0

    signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    callback = signature(take)  # kept alive as long as the library may call it
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(order["language"].encode()) != 0:
        raise ValueError(f"no voice {order['language']}")
    library.espeak_SetParameter(RATE, order["words_per_minute"], 0)
    library.espeak_SetParameter(VOLUME, order["volume"], 0)
    library.espeak_SetParameter(PITCH, order["pitch"], 0)
    text = order["text"].replace("\0", " ").encode()
    library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, 1, 0, UTF8, None, None)
    return bytes(pcm), rate


def resampled(pcm: bytes, in_rate: int, out_rate: int) -> bytes:
    """Return the same sound at another rate; rates in Hz."""
    n_out = -(-len(pcm) // 2 * out_rate // in_rate)
    pcm += bytes(2 * TAIL_SAMPLES)
    frame = av.AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
    frame.planes[0].update(pcm)
    frame.sample_rate = in_rate
    frame.time_base = Fraction(1, in_rate)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=out_rate)
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return b"".join(bytes(each.planes[0])[: 2 * each.samples] for each in frames)[: 2 * n_out]


def main() -> None:
    """Speak one order."""
    order: Order = json.load(sys.stdin.buffer)
    pcm, rate = spoken(order)
    sys.stdout.buffer.write(resampled(pcm, rate, order["sample_rate"]))


if __name__ == "__main__":
    main()
