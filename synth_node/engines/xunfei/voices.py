"""The voices that Xunfei gives to every app, and what people call them. Pure."""

from __future__ import annotations

from typing import Final

from antiphon.heartbeat import Voice

ONLINE: Final = ("xiaoyan", "aisjiuxu", "aisxping", "aisjinger", "aisbabyxu")
SUPER_HUMAN: Final = (
    "x5_lingxiaoxuan_flow",
    "x5_lingfeiyi_flow",
    "x5_lingxiaoyue_flow",
    "x5_lingyuzhao_flow",
    "x5_lingyuyan_flow",
)
_NAMES: Final = {
    "xiaoyan": "小燕",
    "aisjiuxu": "许久",
    "aisxping": "小萍",
    "aisjinger": "小婧",
    "aisbabyxu": "许小宝",
    "x4_xiaoyan": "小燕",
    "x4_yezi": "小露",
    "x5_lingxiaoxuan_flow": "聆小璇",
    "x5_lingfeiyi_flow": "聆飞逸",
    "x5_lingxiaoyue_flow": "聆小玥",
    "x5_lingyuzhao_flow": "聆玉昭",
    "x5_lingyuyan_flow": "聆玉言",
}
"""Of Mandarin voices. Source: the consoles and documents of the two services at xfyun.cn."""


def voice(id: str) -> Voice:
    """Return a voice with what is known of it; one that is not known has its id alone."""
    return Voice(id, _NAMES[id], "zh") if id in _NAMES else Voice(id)
