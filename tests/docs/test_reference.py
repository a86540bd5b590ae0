"""The reference lists what the code has, no more and no less; links lead somewhere; snippets compile."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import click
import pytest
from pydantic_settings import BaseSettings

import antiphon
from antiphon import events, feedback, heartbeat, request, subjects
from antiphon.cli import main as command
from antiphon.errors import SpeechError
from antiphon.settings import variable
from gateway.config import GatewaySettings
from gateway.http_errors import HTTP_CODES, status_of
from synth_node.built_in import BUILT_IN
from synth_node.config import SynthSettings

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
OF_THE_COMMAND = {"ANTIPHON_NATS_TOKEN"}


def tables(page: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield the head and the rows of each table of a reference page, cells without backquotes."""
    for block in re.findall(r"(?:^\|.*\n)+", (REFERENCE / page).read_text(), re.M):
        head, _, *rows = [
            [cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in block.splitlines()
        ]
        yield head, rows


def section(page: str, heading: str) -> str:
    """Return the text under a heading of the second or third level, its subsections included."""
    text = (REFERENCE / page).read_text()
    found = re.search(rf"^(##+) {re.escape(heading)}\n", text, re.M)
    assert found is not None, heading
    return re.split(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], flags=re.M)[0]


def quoted(text: str) -> set[str]:
    """Return every name that stands in backquotes in the first cell of a table row."""
    cells = re.findall(r"^\| (`[^|]*`) \|", text, re.M)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def defaults_of(settings: type[BaseSettings]) -> dict[str, str]:
    """Return each variable with its default as the tables write it; "" for one that is not fixed."""
    written = {}
    for name, field in settings.model_fields.items():
        default = None if field.is_required() else field.default
        if isinstance(default, bool):
            default = str(default).lower()
        elif isinstance(default, float):
            default = f"{default:g}"
        written[variable(settings, name)] = "" if default is None else str(default)
    return written


def settings_in(page: str) -> dict[str, str]:
    """Return each variable of the page's tables with its default as written."""
    found = {}
    for head, rows in tables(page):
        if head[0] == "variable":
            found.update({row[0]: row[head.index("default")] for row in rows})
    return found


def defaults_of_engines() -> dict[str, str]:
    """Return the same of all engines that come with Antiphon and have settings of their own."""
    written: dict[str, str] = {}
    for engine in BUILT_IN.values():
        if (settings := engine.settings_class()) is not None:
            written |= defaults_of(settings)
    return written


def test_every_setting_has_its_line() -> None:
    code = defaults_of(SynthSettings) | defaults_of(GatewaySettings) | defaults_of_engines()
    documented = settings_in("settings.md")
    assert set(documented) == set(code) | OF_THE_COMMAND
    assert {name: documented[name] for name, default in code.items() if default} == {
        name: default for name, default in code.items() if default
    }


def test_every_setting_of_the_gateway_has_its_line_in_http() -> None:
    code = defaults_of(GatewaySettings)
    documented = settings_in("http.md")
    assert set(documented) == set(code)
    assert all(documented[name] == default for name, default in code.items() if default)


def test_every_error_has_its_line() -> None:
    (rows,) = [rows for head, rows in tables("errors.md") if head[0] == "code"]
    documented = {code: (number, retryable, status) for code, number, retryable, status, _ in rows}
    assert documented == {
        code: (str(kind.number), "yes" if kind.retryable else "no", str(int(status_of(kind()))))
        for code, kind in SpeechError.codes().items()
    }


def test_every_http_error_has_its_line() -> None:
    (rows,) = [rows for head, rows in tables("http.md") if head[:2] == ["code", "status"]]
    speech = {code: str(int(status_of(kind()))) for code, kind in SpeechError.codes().items()}
    http = {code: str(status) for status, code in HTTP_CODES.items()}
    assert {code: status for code, status, _ in rows} == speech | http


def test_every_stream_message_has_its_line() -> None:
    kinds = {value.kind for value in vars(events).values() if isinstance(getattr(value, "kind", None), str)}
    (rows,) = [rows for head, rows in tables("messages.md") if head[0] == "kind"]
    assert {row[0] for row in rows} == kinds


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("Heartbeat", heartbeat.Heartbeat),
        ("Waiting", heartbeat.Waiting),
        ("Cancel", feedback.Cancel),
        ("Credit", feedback.Credit),
    ],
)
def test_every_key_of_a_message_has_its_line(heading: str, message: type) -> None:
    names = {field.name for field in fields(message)}
    assert quoted(section("messages.md", heading)) == names


def test_every_key_and_header_of_a_request_has_its_line() -> None:
    keys = {field.name for field in fields(request.SpeechRequest)}
    headers = {request.ID, request.ATTEMPT, request.BUDGET_MS, request.REPLY, request.WINDOW}
    headers |= {request.TRACEPARENT, request.CONTENT_TYPE}
    assert quoted(section("messages.md", "Request")) == keys | headers
    text = section("messages.md", "Request")
    assert all(f"`{name}`" in text for name in request.CONTENT_TYPES)


def test_every_header_of_a_reply_has_its_line() -> None:
    assert quoted(section("messages.md", "Plain reply")) == {
        *(request.CONTENT_TYPE, request.ID, request.NODE, request.AUDIO_MS, request.SYNTHESIS_MS),
        *(request.ERROR, request.SERVICE_ERROR, request.SERVICE_ERROR_CODE),
    }


def test_nested_keys_are_named() -> None:
    text = section("messages.md", "Heartbeat")
    assert all(f"`{field.name}`" in text for field in fields(heartbeat.Running))
    text = section("messages.md", "Voices")
    assert all(f"`{field.name}`" in text for field in fields(heartbeat.Voice))
    assert all(f"`{state}`" in section("messages.md", "Heartbeat") for state in get_args(heartbeat.State))


def test_every_subject_has_its_line() -> None:
    (rows,) = [rows for head, rows in tables("subjects.md") if head[0] == "subject"]
    groups = {subject.split("`")[0]: group for subject, group, *_ in rows}
    own = subjects.Subjects()
    for name, member in inspect.getmembers(subjects.Subjects):
        if name.startswith("_") or name == "root" or not (callable(member) or isinstance(member, property)):
            continue
        takes = list(inspect.signature(member).parameters)[1:] if callable(member) else []
        built = getattr(own, name)(*(f"X{token}X" for token in takes)) if takes else getattr(own, name)
        subject = re.sub(r"X(\w+?)X", r"<\1>", built)
        if "*" in subject:
            assert f"`{subject}`" in (REFERENCE / "subjects.md").read_text()
        else:
            assert subject in groups, f"{name}: {subject}"
    assert groups["tts.synth.<model>"] == subjects.SYNTH_QUEUE
    assert groups["tts.free.<model>"] == subjects.WAITERS_QUEUE
    assert groups["tts.voices.<model>"] == subjects.VOICES_QUEUE
    text = (REFERENCE / "subjects.md").read_text()
    assert f"`{subjects.service('PING')}`" in text
    assert f"`{subjects.service('PING', 'NODE').replace('NODE', '<node>')}`" in text


def test_the_python_client_is_documented() -> None:
    text = (REFERENCE / "python.md").read_text()
    assert all(name in text for name in antiphon.__all__)
    methods = [name for name, value in vars(antiphon.TtsClient).items() if callable(value)]
    headings = re.findall(r"^### (\w+)$", text, re.M)
    assert sorted(headings) == sorted(name for name in methods if not name.startswith("_"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and most other renderers make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_snippets_compile(page: Path) -> None:
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        compile(snippet, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_commands_have_the_options_that_the_pages_use() -> None:
    context = click.Context(command)
    for page in PAGES:
        for line in re.findall(r"antiphon ([\w-]+)([^\n`]*)", page.read_text()):
            name, rest = line
            found = command.get_command(context, name)
            if found is None:
                continue
            known = {option for parameter in found.params for option in parameter.opts} | {"--help"}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= known, f"{page}: antiphon {name}{rest}"
