"""Signatures and texts that are known: computed with another program, or printed by the vendor."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import pytest

from synth_node.engines.xunfei.online import Online
from synth_node.engines.xunfei.protocol import Wanted
from synth_node.engines.xunfei.signing import authorization, sign, signed_text, signed_url


@dataclass(frozen=True)
class Vector:
    """One connection. now: Unix time in seconds. authorization: in base64, as in the URL's query."""

    url: str
    method: str
    date: str
    now: float
    key: str
    secret: str
    signature: str
    authorization: str


ONLINE = Vector(
    "wss://tts-api.xfyun.cn/v2/tts",
    "GET",
    "Mon, 06 Jan 2025 08:09:10 GMT",
    1736150950,
    "0123456789abcdef0123456789abcdef",
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    "inOlHiBxLVjpxVOdw1YlO+ffeuRZAzyYYo6drXJKPKM=",
    "YXBpX2tleT0iMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYiLCBhbGdvcml0aG09ImhtYWMtc2hhMjU2IiwgaGVhZGVycz0"
    "iaG9zdCBkYXRlIHJlcXVlc3QtbGluZSIsIHNpZ25hdHVyZT0iaW5PbEhpQnhMVmpweFZPZHcxWWxPK2ZmZXVSWkF6eVlZbzZkclhKS1"
    "BLTT0i",
)
SUPER_HUMAN = Vector(
    "wss://cbm01.cn-huabei-1.xf-yun.com/v1/private/mcd9m97e6",
    "GET",
    "Thu, 29 Feb 2024 23:59:59 GMT",
    1709251199,
    "fedcba9876543210fedcba9876543210",
    "c2VjcmV0LWZvci10ZXN0LW9ubHktMDAx",
    "Gg3ZLd13WQQHsSK0oAC4Kln+vFCJdoVChgc95ymh2+w=",
    "YXBpX2tleT0iZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTAiLCBhbGdvcml0aG09ImhtYWMtc2hhMjU2IiwgaGVhZGVycz0"
    "iaG9zdCBkYXRlIHJlcXVlc3QtbGluZSIsIHNpZ25hdHVyZT0iR2czWkxkMTNXUVFIc1NLMG9BQzRLbG4rdkZDSmRvVkNoZ2M5NXltaD"
    "Irdz0i",
)
LONG_TEXT = Vector(
    "https://api-dx.xf-yun.com/v1/private/dts_create",
    "POST",
    "Sun, 09 Mar 2025 00:00:00 GMT",
    1741478400,
    "testkey-testkey-testkey-testkey0",
    "testsecrettestsecrettestsecret00",
    "2tH6Mm8OXLSg+rmRRyuHrbZ+eu4Cq33kUWWKIvlz0cc=",
    "YXBpX2tleT0idGVzdGtleS10ZXN0a2V5LXRlc3RrZXktdGVzdGtleTAiLCBhbGdvcml0aG09ImhtYWMtc2hhMjU2IiwgaGVhZGVycz0"
    "iaG9zdCBkYXRlIHJlcXVlc3QtbGluZSIsIHNpZ25hdHVyZT0iMnRINk1tOE9YTFNnK3JtUlJ5dUhyYlorZXU0Q3EzM2tVV1dLSXZsej"
    "BjYz0i",
)
PADDED = Vector(
    "wss://ws-api.xfyun.cn/v2/tts",
    "GET",
    "Wed, 31 Dec 2025 16:00:00 GMT",
    1767196800,
    "padding-test-key-of-thirty-three-",
    "secret with spaces + / =",
    "Q4/Z0Exn2HvzMa9D96HvREyjbKBPGlvgILNajLqj60w=",
    "YXBpX2tleT0icGFkZGluZy10ZXN0LWtleS1vZi10aGlydHktdGhyZWUtIiwgYWxnb3JpdGhtPSJobWFjLXNoYTI1NiIsIGhlYWRlcnM"
    "9Imhvc3QgZGF0ZSByZXF1ZXN0LWxpbmUiLCBzaWduYXR1cmU9IlE0L1owRXhuMkh2ek1hOUQ5Nkh2UkV5amJLQlBHbHZnSUxOYWpMcW"
    "o2MHc9Ig==",
)
WITH_PORT = Vector(
    "ws://127.0.0.1:18080/v2/tts",
    "GET",
    "Mon, 06 Jan 2025 08:09:10 GMT",
    1736150950,
    "0123456789abcdef0123456789abcdef",
    "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    "uZgtblhfBXWfyC9b9y70erLQiPV/sk/Q4bFyp3Zwtwo=",
    "YXBpX2tleT0iMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYiLCBhbGdvcml0aG09ImhtYWMtc2hhMjU2IiwgaGVhZGVycz0"
    "iaG9zdCBkYXRlIHJlcXVlc3QtbGluZSIsIHNpZ25hdHVyZT0idVpndGJsaGZCWFdmeUM5Yjl5NzBlckxRaVBWL3NrL1E0YkZ5cDNad3"
    "R3bz0i",
)
VECTORS = {
    "online": ONLINE,
    "super-human": SUPER_HUMAN,
    "long text": LONG_TEXT,
    "padded": PADDED,
    "with a port": WITH_PORT,
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_a_known_signature_is_made(vector: Vector) -> None:
    parts = urlsplit(vector.url)
    text = signed_text(parts.netloc, vector.date, parts.path, method=vector.method)
    signature = sign(vector.secret, text)
    assert signature == vector.signature
    assert authorization(vector.key, signature) == vector.authorization


@pytest.mark.parametrize(
    "vector",
    [each for each in VECTORS.values() if each.method == "GET"],
    ids=[name for name, each in VECTORS.items() if each.method == "GET"],
)
def test_a_known_address_is_made(vector: Vector) -> None:
    url = signed_url(vector.url, key=vector.key, secret=vector.secret, now=vector.now)
    assert url.startswith(f"{vector.url}?authorization={vector.authorization.replace('=', '%3D')}&date=")
    assert parse_qs(urlsplit(url).query, strict_parsing=True) == {
        "authorization": [vector.authorization],
        "date": [vector.date],
        "host": [urlsplit(vector.url).netloc],
    }


def test_the_whole_address_is_spelled_as_it_is_known() -> None:
    assert signed_url(ONLINE.url, key=ONLINE.key, secret=ONLINE.secret, now=ONLINE.now) == (
        f"wss://tts-api.xfyun.cn/v2/tts?authorization={ONLINE.authorization}"
        "&date=Mon%2C+06+Jan+2025+08%3A09%3A10+GMT&host=tts-api.xfyun.cn"
    )
    port = WITH_PORT
    assert signed_url(port.url, key=port.key, secret=port.secret, now=port.now).endswith(
        "&date=Mon%2C+06+Jan+2025+08%3A09%3A10+GMT&host=127.0.0.1%3A18080"
    )


def test_what_is_signed_is_three_lines_without_an_end() -> None:
    assert signed_text("tts-api.xfyun.cn", ONLINE.date, "/v2/tts") == (
        "host: tts-api.xfyun.cn\ndate: Mon, 06 Jan 2025 08:09:10 GMT\nGET /v2/tts HTTP/1.1"
    )


@pytest.mark.parametrize(
    ("host", "method", "path", "date", "secret", "signature"),
    [
        (
            *("iat-api.xfyun.cn", "GET", "/v2/iat", "Wed, 10 Jul 2019 07:35:43 GMT"),
            *("secretxxxxxxxx2df7900c09xxxxxxxx", "Hp3Ty4ZkSBmL8jKyOLpQiv9Sr5nvmeYEH7WsL/ZO2Jg="),
        ),
        (
            *("api.xf-yun.com", "POST", "/v1/private/s782b4996", "Fri, 23 Apr 2021 02:35:47 GMT"),
            *("apisecretXXXXXXXXXXXXXXXXXXXXXXX", "1jwQbIAKmQE7JwIH0IDxiC1pejrlN+VpHXDWOFVy5NM="),
        ),
        (
            *("api-dx.xf-yun.com", "POST", "/v1/private/dts_create", "Thu, 09 Feb 2023 03:37:55 GMT"),
            *("apisecretXXXXXXXXXXXXXXXXXXXXXXX", "ujpYQH4eBPv02n6vwPP6wpbcxEtdbyYRkBoan9YBmOY="),
        ),
        (
            *("tts-api.xfyun.cn", "GET", "/v2/tts", "Thu, 01 Aug 2019 01:53:21 GMT"),
            *("secretxxxxxxxx2df7900c09xxxxxxxx", "kwClvIANtqXII8BL2GwDNUexYGZ7eu03FVvFPHs/4OY="),
        ),
    ],
)
def test_signatures_of_the_vendors_documents_are_made(
    host: str, method: str, path: str, date: str, secret: str, signature: str
) -> None:
    assert sign(secret, signed_text(host, date, path, method=method)) == signature


@pytest.mark.parametrize(
    ("text", "tte", "encoded"),
    [
        ("你好", "UTF8", "5L2g5aW9"),
        ("你好，世界", "UTF8", "5L2g5aW977yM5LiW55WM"),
        ("你好", "GBK", "xOO6ww=="),
        ("你好", "GB2312", "xOO6ww=="),
        ("你好", "GB18030", "xOO6ww=="),
        ("你好", "UNICODE", "YE99WQ=="),
        ("你好", "BIG5", base64.b64encode(b"\xa7\x41\xa6\x6e").decode()),
    ],
)
def test_a_text_is_sent_in_the_encoding_that_is_named(text: str, tte: str, encoded: str) -> None:
    wanted = Wanted(text, "xiaoyan", speed=50, volume=50, pitch=50, sample_rate=16000, aue="raw")
    message = json.loads(Online("app", tte).request(wanted))
    assert message["data"] == {"status": 2, "text": encoded}
    assert message["business"]["tte"] == tte
