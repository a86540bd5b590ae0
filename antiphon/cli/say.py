"""`antiphon say`: speak a text over NATS, into a file or a pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import click

from antiphon.cli import environment
from antiphon.cli.captions import SUFFIXES, captions
from antiphon.cli.environment import Nats

_STANDARD: Final = "-"
_CONNECT_S: Final = 3.0
_HELD_BYTES: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Wish:
    """What to speak and how; see SpeechRequest. words: file for their times. timeout_s: for all of it."""

    text: str
    model: str | None
    voice: str | None
    speed: float
    format: str
    sample_rate: int | None
    words: str | None
    timeout_s: float


@click.command("say")
@click.argument("text")
@click.option(
    "-o", "--output", default=_STANDARD, metavar="FILE",
    help="Where the audio goes; without it, or as -, to standard output.",
)  # fmt: skip
@click.option("--model", help="Model that speaks; without it the only one, or the only one with that voice.")
@click.option("--voice", help="Voice of that model; without it the model's default.")
@click.option("--speed", type=float, default=1.0, show_default=True, help="Factor: 2 is twice as fast.")
@click.option("--format", "audio_format", help="mp3, wav, ...; without it by the name of the file, else mp3.")
@click.option("--sample-rate", type=int, help="In Hz; without it the model's own.")
@click.option(
    "--words", metavar="FILE",
    help="Also write when each word is heard: FILE.json, or captions, FILE.srt or FILE.vtt.",
)  # fmt: skip
@click.option(
    "--nats", "nats_url", show_default=f"NATS_URL_FILE, NATS_URL, else {environment.DEFAULT_SERVER}",
    help="The server; several are separated by commas.",
)  # fmt: skip
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True,
    help="Give up after so many seconds.",
)  # fmt: skip
def command(
    text: str,
    output: str,
    model: str | None,
    voice: str | None,
    speed: float,
    audio_format: str | None,
    sample_rate: int | None,
    words: str | None,
    nats_url: str | None,
    timeout_s: float,
) -> None:
    """Speak TEXT (- reads it from standard input) over NATS and write the audio.

    \b
    antiphon say "hello" -o hello.mp3
    antiphon say - < page.txt | mpv -
    antiphon say "hello" -o hello.wav --words hello.srt
    """
    from antiphon.errors import SpeechError

    if output == _STANDARD and sys.stdout.isatty():
        raise click.UsageError(
            "Audio is nothing for a terminal: name a file with -o hello.mp3, or use a pipe."
        )
    if words is not None and _suffix_of(words) not in SUFFIXES:
        raise click.UsageError(f"--words wants a file whose name ends in .{', .'.join(SUFFIXES)}.")
    nats = environment.nats_found(nats_url) or environment.nats_at(environment.DEFAULT_SERVER)
    if text == _STANDARD:
        text = sys.stdin.read()
    chosen = audio_format or _format_of(output)
    wish = _Wish(text, model, voice, speed, chosen, sample_rate, words, timeout_s)
    try:
        asyncio.run(_speak(wish, nats, output))
    except SpeechError as exc:
        raise click.ClickException(sentence(str(exc) or exc.code)) from None
    except OSError as exc:
        if isinstance(exc, BrokenPipeError):
            raise
        raise click.ClickException(sentence(f"{output}: {exc.strerror or exc}")) from None


async def _speak(wish: _Wish, nats: Nats, output: str) -> None:
    """Write the audio of one utterance: into a pipe as it comes, into a file whole.

    Raises SpeechError, OSError.
    """
    import antiphon
    from antiphon.events import Segment, Word

    request = antiphon.SpeechRequest(
        wish.text, wish.voice, wish.speed, wish.format, wish.sample_rate, timestamps=wish.words is not None
    )
    segments: list[Segment] = []
    words: list[Word] = []
    # A whole mp3 says how long it is, and survives the death of a node on the way.
    hold_bytes = 0 if output == _STANDARD else _HELD_BYTES
    async with (
        antiphon.connect(nats.urls, subjects=nats.subjects, within_s=_CONNECT_S, **nats.options()) as tts,
        tts.utterance(
            request, model=wish.model, timeout_s=wish.timeout_s, hold_bytes=hold_bytes
        ) as utterance,
    ):
        with _written(output) as file:
            async for event in utterance.events():
                if isinstance(event, bytes):
                    file.write(event)
                elif isinstance(event, Segment):
                    segments.append(event)
                else:
                    words += event.words
        if wish.words is not None:
            with _written(wish.words) as file:
                file.write(captions(_suffix_of(wish.words), wish.text, segments, words).encode())


@contextmanager
def _written(output: str) -> Iterator[BinaryIO]:
    """Open `output` for writing. A file appears under its name only when the block ends well."""
    if output == _STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(output).resolve()
    if target.exists() and not target.is_file():  # a device or a pipe: nothing to replace
        with target.open("wb") as file:
            yield file
        return
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _format_of(output: str) -> str:
    """Return the format that a file's name asks for."""
    from antiphon.request import CONTENT_TYPES

    suffix = _suffix_of(output)
    return suffix if suffix in CONTENT_TYPES else "mp3"


def _suffix_of(name: str) -> str:
    return Path(name).suffix.removeprefix(".").lower()


def sentence(text: str) -> str:
    """Return the text of a failure as a sentence."""
    return text[:1].upper() + text[1:] + "." * (not text.endswith("."))
