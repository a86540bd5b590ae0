"""Online TTS, /v2/tts: one message out, frames of JSON in. Pure."""

from __future__ import annotations

import base64
import json
from typing import Final

from synth_node.engines.xunfei.protocol import Frame, Wanted, audio_bytes, json_object, number, part

URL: Final = "wss://tts-api.xfyun.cn/v2/tts"
ENCODINGS: Final = {
    "UTF8": "utf-8",
    "UNICODE": "utf-16-le",
    "GB2312": "gb2312",
    "GBK": "gbk",
    "BIG5": "big5",
    "GB18030": "gb18030",
}
"""What `tte` names, and Python's name of it."""
SAMPLE_RATES: Final = (8000, 16000)
_LAST: Final = 2


class Online:
    """The service's messages. tte: how the text is encoded.

    Source: online TTS at xfyun.cn, "request parameters" and "response parameters".
    """

    max_text_bytes = 7999

    def __init__(self, app_id: str, tte: str) -> None:
        self._app_id = app_id
        self._tte = tte
        self.encoding = ENCODINGS[tte]

    def request(self, wanted: Wanted) -> str:
        """Return the one message that asks for it."""
        business = {
            "aue": wanted.aue,
            "auf": f"audio/L16;rate={wanted.sample_rate}",
            "vcn": wanted.voice,
            "speed": wanted.speed,
            "volume": wanted.volume,
            "pitch": wanted.pitch,
            "tte": self._tte,
        }
        if wanted.aue == "lame":
            business["sfl"] = 1  # without it a long text may time out
        text = base64.b64encode(wanted.text.encode(self.encoding)).decode()
        values = {
            "common": {"app_id": self._app_id},
            "business": business,
            "data": {"status": _LAST, "text": text},
        }
        return json.dumps(values)

    def frame(self, message: str) -> Frame:
        """Read a message. Raises Fault."""
        values = json_object(message)
        data = part(values, "data")
        return Frame(
            code=number(values.get("code")),
            message=str(values.get("message", "")),
            sid=str(values.get("sid", "")),
            audio=audio_bytes(data.get("audio")),
            last=data.get("status") == _LAST,
        )
