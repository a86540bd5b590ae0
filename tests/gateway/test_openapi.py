"""The description of the gateway: valid, complete, and true of what a real gateway answers."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from aiohttp import hdrs
from openapi_spec_validator import validate

from antiphon import __version__
from antiphon.errors import SpeechError
from antiphon.request import CONTENT_TYPES, INPUT_TYPES, SpeechRequest
from gateway.app import make_app
from gateway.config import GatewaySettings
from gateway.http_errors import HTTP_CODES, status_of
from gateway.link import Link
from gateway.openapi import describe
from gateway.openapi_schemas import STATUS_OF_CODE
from gateway.voice_messages import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import ClientResponse

    from antiphon.client import TtsClient
    from tests.gateway.conftest import GatewayFactory

MAX_CHARACTERS = 40
METHODS = {"get", "head", "options", "post"}
DESCRIPTION = describe(max_characters=MAX_CHARACTERS, wants_key=False)


def strict(description: dict[str, Any]) -> dict[str, Any]:
    """Return it with no key allowed in an object beside those that it names."""

    def close(schema: Any) -> None:
        if isinstance(schema, dict):
            if "properties" in schema and "required" in schema:
                schema["additionalProperties"] = False
            for value in schema.values():
                close(value)
        elif isinstance(schema, list):
            for value in schema:
                close(value)

    closed = copy.deepcopy(description)
    close(closed["components"]["schemas"])
    return closed


STRICT = strict(DESCRIPTION)


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in DESCRIPTION["paths"].items():
        for method in METHODS & item.keys():
            yield path, method, item[method]


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """Return what is wrong with a value."""
    validator = jsonschema_rs.Draft202012Validator({**schema, "components": STRICT["components"]})
    return [str(error) for error in validator.iter_errors(value)]


def resolved(header: dict[str, Any]) -> dict[str, Any]:
    return dict(STRICT["components"]["headers"][header["$ref"].rpartition("/")[2]])


async def check(reply: ClientResponse, path: str) -> Any:
    """Compare a reply with the description of its operation; return its body, or the list of its events."""
    described = STRICT["paths"][path][reply.method.lower()]["responses"][str(reply.status)]
    for name, header in described["headers"].items():
        assert name in reply.headers or not resolved(header).get("required"), name
    if "content" not in described:
        return await reply.read()
    schema = described["content"][reply.content_type].get("schema", {})
    if reply.content_type.startswith("audio/"):
        return await reply.read()
    if reply.content_type == "text/event-stream":
        of_data = schema["properties"]["data"]["contentSchema"]
        lines = (line async for line in reply.content if line.strip())
        events = [json.loads(line.removeprefix(b"data: ")) async for line in lines]
        assert [faults(of_data, event) for event in events] == [[]] * len(events)
        return events
    body = await (reply.json() if reply.content_type == "application/json" else reply.text())
    assert faults(schema, body) == []
    return body


def test_it_is_openapi() -> None:
    validate(DESCRIPTION)
    assert DESCRIPTION["openapi"].startswith("3.1")
    assert DESCRIPTION["info"]["version"] == __version__


def test_it_describes_every_route_and_no_other() -> None:
    routes = make_app(Link(), GatewaySettings()).router.routes()
    known = {(route.resource.canonical, route.method.lower()) for route in routes if route.resource}
    known |= {(path, "options") for path, _ in known}  # answered by a middleware, on every path
    assert {(path, method) for path, method, _ in operations()} == known


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation["operationId"] for _, method, operation in operations() if method != "options"]
    assert len(set(names)) == len(names)


def test_every_error_is_described_with_its_status() -> None:
    codes = {code: int(status_of(kind())) for code, kind in SpeechError.codes().items()}
    codes |= {code: status for status, code in HTTP_CODES.items()} | {"model_not_found": 404}
    assert codes == STATUS_OF_CODE
    assert set(DESCRIPTION["components"]["schemas"]["ErrorValues"]["properties"]["code"]["enum"]) == set(
        codes
    )
    replies = [(status, made) for *_, each in operations() for status, made in each["responses"].items()]
    replies += [("404", DESCRIPTION["components"]["responses"]["NotFound"])]
    replies += [("405", DESCRIPTION["components"]["responses"]["MethodNotAllowed"])]
    described = set()
    for status, made in replies:
        content = made.get("content", {}).get("application/json", {}).get("schema", {})
        for narrowed in content.get("allOf", [])[1:]:
            of_status = narrowed["properties"]["error"]["properties"]["code"]["enum"]
            described |= {(code, int(status)) for code in of_status}
    assert described == set(codes.items())


def test_a_speech_error_explains_itself() -> None:
    told = DESCRIPTION["paths"]["/tts"]["post"]["responses"]["400"]["description"]
    assert "* `unknown_voice`: The model has no such voice." in told


def test_every_key_of_a_request_is_described() -> None:
    known = DESCRIPTION["components"]["schemas"]
    names = {field.name for field in fields(SpeechRequest)} - {"resume"}
    assert known["Speech"]["properties"].keys() == names | {"model", "stream"}
    assert known["Speech"]["properties"]["input_type"]["enum"] == [*INPUT_TYPES, None]
    parameters = DESCRIPTION["paths"]["/v1/audio/stream"]["get"]["parameters"]
    assert tuple(each["name"] for each in parameters if each["in"] == "query") == OPTIONS


@pytest.mark.parametrize(("body", "format"), [("Speech", "format"), ("OpenAISpeech", "response_format")])
def test_every_format_is_described(body: str, format: str) -> None:
    path = {"Speech": "/tts", "OpenAISpeech": "/v1/audio/speech"}[body]
    assert DESCRIPTION["components"]["schemas"][body]["properties"][format]["enum"] == [*CONTENT_TYPES, None]
    content = DESCRIPTION["paths"][path]["post"]["responses"]["200"]["content"]
    assert content.keys() - {"application/json", "text/event-stream"} == set(CONTENT_TYPES.values())


async def test_anyone_may_read_it(gateway_at: GatewayFactory) -> None:
    async with gateway_at(api_keys="secret", max_text_characters=7) as gateway:
        async with gateway.http.get("/openapi.json") as reply:
            told = await check(reply, "/openapi.json")
        assert told == describe(max_characters=7, wants_key=True)
        assert told["components"]["schemas"]["Text"]["maxLength"] == 7
        assert told["paths"]["/tts"]["post"]["security"] == [{"key": []}]
        assert "security" not in told["paths"]["/openapi.json"]["get"]
        async with gateway.http.head("/openapi.json") as reply:
            assert reply.status == 200
            await check(reply, "/openapi.json")


@pytest.mark.parametrize("path", [path for path, item in DESCRIPTION["paths"].items() if "head" in item])
async def test_what_can_be_read_is_as_described(speaking: GatewayFactory, path: str) -> None:
    async with speaking() as gateway:
        for method in (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS):
            async with gateway.http.request(method, path.replace("{id}", "tone")) as reply:
                assert reply.status == (204 if method == hdrs.METH_OPTIONS else 200)
                await check(reply, path)


async def test_speech_is_as_described(speaking: GatewayFactory) -> None:
    async with speaking(max_text_characters=MAX_CHARACTERS) as gateway:
        for format, content_type in CONTENT_TYPES.items():
            for path, values in (
                ("/tts", {"text": ["one", "two"], "format": format, "stream": format == "wav"}),
                ("/v1/audio/speech", {"input": "one", "response_format": format}),
            ):
                async with gateway.http.post(path, json=values) as reply:
                    assert (reply.status, reply.content_type) == (200, content_type)
                    assert await check(reply, path)
        plain = {"Content-Type": "text/plain", "Accept": "application/json"}
        async with gateway.http.post("/tts", data="one", headers=plain) as reply:
            assert "words" not in await check(reply, "/tts")
        async with gateway.http.post("/tts", json={"text": "one", "timestamps": True}) as reply:
            assert (await check(reply, "/tts"))["words"]


async def test_events_are_as_described(speaking: GatewayFactory) -> None:
    async with speaking() as gateway:
        async with gateway.http.post(
            "/tts", json={"text": "one. two.", "timestamps": True, "stream": True}
        ) as reply:
            kinds = {event["type"] for event in await check(reply, "/tts")}
            assert kinds >= {"segment", "words", "audio", "done"}
        async with gateway.http.post(
            "/v1/audio/speech", json={"input": "one", "stream_format": "sse"}
        ) as reply:
            found = await check(reply, "/v1/audio/speech")
            assert {event["type"] for event in found} == {"speech.audio.delta", "speech.audio.done"}


JSON = {"Content-Type": "application/json"}
HANDSHAKE = {
    **{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
TIGHT = {"max_text_characters": MAX_CHARACTERS, "max_body_bytes": 500, "hold_bytes": 500}
PROVOKED: list[tuple[str, str, str, dict[str, str], str]] = [
    ("invalid_request", "POST", "/tts", JSON, "[]"),
    ("invalid_request", "POST", "/v1/audio/speech", JSON, '{"input": "a", "speed": 9}'),
    ("invalid_request", "GET", "/v1/audio/stream?speed=9", HANDSHAKE, ""),
    ("unknown_voice", "POST", "/tts", JSON, '{"text": "a", "voice": "nobody"}'),
    ("text_too_long", "POST", "/tts", JSON, json.dumps({"text": "a" * (MAX_CHARACTERS + 1)})),
    ("nothing_to_speak", "POST", "/v1/audio/speech", JSON, '{"input": "\N{GRINNING FACE}"}'),
    (
        "audio_too_large",
        "POST",
        "/tts",
        {**JSON, "Accept": "application/json"},
        json.dumps({"text": "a" * 40}),
    ),
    ("body_too_large", "POST", "/tts", JSON, json.dumps({"text": "a" * 600})),
    ("unsupported_media_type", "POST", "/tts", {"Content-Type": "image/png"}, "a"),
    ("upgrade_required", "GET", "/v1/audio/stream", {}, ""),
    ("origin_not_allowed", "GET", "/v1/audio/stream", {**HANDSHAKE, "Origin": "https://example.org"}, ""),
    ("model_not_found", "GET", "/v1/models/nobody", {}, ""),
    ("model_not_found", "GET", "/v1/models/nobody%0A/else", {}, ""),
]


@pytest.mark.parametrize(("code", "method", "path", "headers", "body"), PROVOKED)
async def test_errors_are_as_described(
    speaking: GatewayFactory, code: str, method: str, path: str, headers: dict[str, str], body: str
) -> None:
    async with (
        speaking(**TIGHT, cors_origins="") as gateway,
        gateway.http.request(method, path, headers=headers, data=body or None) as reply,
    ):
        assert reply.status == STATUS_OF_CODE[code], await reply.text()
        described = re.sub("nobody.*", "{id}", path.partition("?")[0])
        assert (await check(reply, described))["error"]["code"] == code


async def test_a_gateway_without_nats_is_as_described(gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        for path in ("/check_tts_status", "/count", "/readyz", "/v1/audio/voices", "/v1/audio/stream"):
            async with gateway.http.get(path, headers=HANDSHAKE) as reply:
                assert (await check(reply, path))["error"]["code"] == "not_connected"


async def test_a_group_without_nodes_is_as_described(client: TtsClient, gateway_at: GatewayFactory) -> None:
    async with gateway_at() as gateway:
        gateway.link.set(client)
        async with gateway.http.get("/readyz") as reply:
            assert (await check(reply, "/readyz"))["error"]["code"] == "no_nodes"


async def test_a_missing_key_is_as_described(gateway_at: GatewayFactory) -> None:
    async with gateway_at(api_keys="secret") as gateway:
        for path, item in DESCRIPTION["paths"].items():
            for method in METHODS & item.keys():
                async with gateway.http.request(method, path.replace("{id}", "tts-1")) as reply:
                    assert (reply.status == 401) == ("security" in item[method]), path
                    if reply.status == 401:
                        assert (await check(reply, path))["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("method", "path", "response"), [("GET", "/nowhere", "NotFound"), ("PUT", "/tts", "MethodNotAllowed")]
)
async def test_what_has_no_operation_is_as_described(
    gateway_at: GatewayFactory, method: str, path: str, response: str
) -> None:
    described = STRICT["components"]["responses"][response]
    async with gateway_at() as gateway, gateway.http.request(method, path) as reply:
        assert described["headers"].keys() <= reply.headers.keys()
        assert faults(described["content"]["application/json"]["schema"], await reply.json()) == []


def test_a_fault_is_seen() -> None:
    """The comparison itself: a wrong code, a missing key, one too many."""
    schema = DESCRIPTION["paths"]["/tts"]["post"]["responses"]["400"]["content"]["application/json"]["schema"]
    values = {"message": "", "type": "invalid_request_error", "param": None, "code": "unknown_voice"}
    assert faults(schema, {"error": values}) == []
    assert faults(schema, {"error": {**values, "code": "no_nodes"}})
    assert faults(schema, {"error": {**values, "new": 1}})
    assert faults(schema, {"error": {"message": ""}})
