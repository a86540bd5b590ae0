"""A function: text in, one audio file out."""

import io
import math
import struct
import wave


def tts_api(text: str) -> bytes:
    hum = [9000 * math.sin(i * ord(letter) / 1000) for letter in text for i in range(2000)]
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(b"".join(struct.pack("<h", int(sample)) for sample in hum))
    return file.getvalue()
