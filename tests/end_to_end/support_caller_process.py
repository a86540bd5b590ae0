"""A caller as a process: URL ROOT MODEL FORM TEXT. It sends one request and hears it out."""

from __future__ import annotations

import asyncio
import sys

from antiphon.client import connect
from antiphon.run import Timing
from antiphon.subjects import Subjects


async def main(url: str, root: str, model: str, form: str, text: str) -> None:
    """Speak `text` the way that `form` says: stream, whole or plain."""
    async with connect(url, subjects=Subjects(root), timing=Timing(accept_min_s=0.3)) as client:
        if form == "whole":
            await client.speak(text, model=model)
        elif form == "stream":
            async for _ in client.stream(text, model=model):
                pass
        else:
            nc = client.connection.nc
            await nc.request(client._dispatcher.subjects.synth(model), text.encode(), timeout=60)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
