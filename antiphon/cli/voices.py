"""`antiphon voices`: which voices there are, and whose they are."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click

from antiphon.cli import environment
from antiphon.cli.environment import Nats
from antiphon.cli.say import sentence

if TYPE_CHECKING:
    from antiphon.heartbeat import VoiceList

_CONNECT_S: Final = 3.0
_COLUMNS: Final = ("id", "name", "language", "model")
_WIDE: Final = ("F", "W")


@click.command("voices")
@click.option("--model", help="Only those of this model.")
@click.option("--json", "as_json", is_flag=True, help="For programs: the object of GET /v1/audio/voices.")
@click.option(
    "--nats", "nats_url", show_default=f"NATS_URL_FILE, NATS_URL, else {environment.DEFAULT_SERVER}",
    help="The server; several are separated by commas.",
)  # fmt: skip
def command(model: str | None, as_json: bool, nats_url: str | None) -> None:
    """List the voices of all models: id, name, language, model.

    A request for a voice that one model has needs to name no model.
    """
    from antiphon.errors import SpeechError

    nats = environment.nats_found(nats_url) or environment.nats_at(environment.DEFAULT_SERVER)
    try:
        lists = asyncio.run(_lists(nats, model))
    except SpeechError as exc:
        raise click.ClickException(sentence(str(exc) or exc.code)) from None
    voices = list(_voices(lists))
    missing = [model for model, listed in lists.items() if listed is None]
    if as_json:
        click.echo(json.dumps({"voices": voices, "missing": missing}, ensure_ascii=False))
        return
    for line in table(_COLUMNS, [[voice[column] for column in _COLUMNS] for voice in voices]):
        click.echo(line)
    for name, listed in lists.items():
        if listed is not None and not listed.voices:
            click.echo(f"{name} lists no voices: it takes any name.", err=True)
    for name in missing:
        click.echo(f"{name} did not tell its voices.", err=True)


async def _lists(nats: Nats, model: str | None) -> Mapping[str, VoiceList | None]:
    """Ask for the voices. Raises SpeechError."""
    import antiphon

    async with antiphon.connect(
        nats.urls, subjects=nats.subjects, within_s=_CONNECT_S, **nats.options()
    ) as tts:
        return await tts.voice_lists() if model is None else {model: await tts.voice_list(model)}


def _voices(lists: Mapping[str, VoiceList | None]) -> Iterator[dict[str, str]]:
    for model, listed in lists.items():
        for voice in () if listed is None else listed.voices:
            yield {**asdict(voice), "name": voice.name or voice.id, "model": model}


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table: cells side by side, two spaces between the columns."""
    shown = [head, *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _shown(cell: str) -> str:
    """Return what a node says as something that no terminal obeys."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cell
    )


def _width(text: str) -> int:
    """Return how many columns of a terminal `text` takes; a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(character) in _WIDE else 1 for character in text)
