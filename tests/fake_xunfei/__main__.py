"""python -m tests.fake_xunfei: the stand-in by hand, with a real voice, for demos without an account."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import click

from tests.fake_xunfei.handshake import REFUSALS
from tests.fake_xunfei.scenarios import Scenario
from tests.fake_xunfei.server import fake_xunfei

_NAMES = {scenario.name.lower().replace("_", "-"): scenario for scenario in Scenario}
_HELP = "\b\nScenarios:\n" + "\n".join(f"  {name:16} {each.value}" for name, each in _NAMES.items())


@click.command(epilog=_HELP)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="0 takes a free one.")
@click.option("--voice", type=click.Choice(["espeak", "tone"]), default="espeak", show_default=True)
@click.option("--scenario", type=click.Choice(list(_NAMES)), default="fine", show_default=True)
@click.option("--code", type=int, default=10010, show_default=True, help="Of error and error-later.")
@click.option("--refusal", type=click.Choice(list(REFUSALS)), default="503", show_default=True)
@click.option("--most-at-once", type=click.IntRange(1), help="Connections; one more gets 11203.")
@click.option("--most-per-s", type=click.IntRange(1), help="Starts in a second; one more gets 11202.")
@click.option("--service-s", type=click.FloatRange(0), default=0.0, help="Seconds before the first frame.")
@click.option("--pace", type=click.FloatRange(0), default=0.0, help="Seconds of audio in a second; 0: all.")
def main(
    host: str,
    port: int,
    voice: str,
    scenario: str,
    code: int,
    refusal: str,
    most_at_once: int | None,
    most_per_s: int | None,
    service_s: float,
    pace: float,
) -> None:
    """Answer like the Xunfei gateway, until Ctrl-C. Prints what a node needs to speak with it."""

    async def run() -> None:
        async with fake_xunfei(
            host=host,
            port=port,
            voice=voice,
            most_at_once=most_at_once,
            most_per_s=most_per_s,
            service_s=service_s,
            pace=pace,
        ) as fake:
            fake.always(_NAMES[scenario], code=code, refusal=refusal)
            click.echo(
                f"export XUNFEI_URL={fake.url}        # or {fake.super_url} with XUNFEI_MODE=super-human"
            )
            click.echo(f"export XUNFEI_APP_ID={fake.app.app_id}")
            click.echo(f"export XUNFEI_API_KEY={fake.app.api_key}")
            click.echo(f"export XUNFEI_API_SECRET={fake.app.api_secret}")
            await asyncio.Event().wait()

    with suppress(KeyboardInterrupt):
        asyncio.run(run())


if __name__ == "__main__":
    main()
