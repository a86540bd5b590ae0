"""Super-human TTS: one message out, frames of JSON in, numbered. Pure."""

from __future__ import annotations

import base64
import json
import re
from typing import Final

from synth_node.engines.xunfei.protocol import Frame, Wanted, audio_bytes, json_object, number, part

URL: Final = "wss://cbm01.cn-huabei-1.xf-yun.com/v1/private/mcd9m97e6"
SAMPLE_RATES: Final = (8000, 16000, 24000)
_LAST: Final = 2
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


class SuperHuman:
    """The service's messages.

    Source: super-human TTS at xfyun.cn, "request parameters" and "response parameters".
    """

    encoding = "utf-8"
    max_text_bytes = 5997  # below 8,000 once it is base64, the smallest of the limits that are documented

    def __init__(self, app_id: str) -> None:
        self._app_id = app_id

    def request(self, wanted: Wanted) -> str:
        """Return the one message that asks for it."""
        values = {
            "header": {"app_id": self._app_id, "status": _LAST},
            "parameter": {
                "tts": {
                    "vcn": wanted.voice,
                    "speed": wanted.speed,
                    "volume": wanted.volume,
                    "pitch": wanted.pitch,
                    "audio": {
                        "encoding": wanted.aue,
                        "sample_rate": wanted.sample_rate,
                        "channels": 1,
                        "bit_depth": 16,
                        "frame_size": 0,
                    },
                }
            },
            "payload": {
                "text": {
                    "encoding": "utf8",
                    "compress": "raw",
                    "format": "plain",
                    "status": _LAST,
                    "seq": 0,
                    "text": base64.b64encode(_visible(wanted.text).encode()).decode(),
                }
            },
        }
        return json.dumps(values)

    def frame(self, message: str) -> Frame:
        """Read a message. Raises Fault."""
        values = json_object(message)
        header, audio = part(values, "header"), part(part(values, "payload"), "audio")
        seq = audio.get("seq")
        return Frame(
            code=number(header.get("code")),
            message=str(header.get("message", "")),
            sid=str(header.get("sid", "")),
            audio=audio_bytes(audio.get("audio")),
            last=_LAST in (audio.get("status"), header.get("status")),
            seq=seq if isinstance(seq, int) else None,
        )


def _visible(text: str) -> str:
    """Return what the service allows: no tabs, nothing that cannot be seen."""
    return _INVISIBLE.sub("", _CONTROL.sub(" ", text))
