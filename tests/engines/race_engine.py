"""An engine on strings: a test that listens on a socket decides when each piece of audio comes.

RACE_SOCKET names a Unix socket. For each utterance the engine connects, says what it is about to speak and in
which process, and then takes one line after another: the hexadecimal bytes of a piece of mp3; `end` ends it.
A text that begins with "blocking" is spoken by a call that no cancel reaches; "poison" ends the process.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Iterator


def told(text: str) -> AsyncIterator[bytes] | Iterator[bytes]:
    """Speak what the test says, when it says so."""
    if text.startswith("poison"):
        os._exit(9)
    return _blocking(text) if text.startswith("blocking") else _interruptible(text)


def _greeting(text: str) -> bytes:
    return json.dumps({"text": text, "pid": os.getpid(), "node": os.getppid()}).encode() + b"\n"


async def _interruptible(text: str) -> AsyncIterator[bytes]:
    reader, writer = await asyncio.open_unix_connection(os.environ["RACE_SOCKET"])
    try:
        writer.write(_greeting(text))
        async for line in reader:
            if line == b"end\n":
                return
            yield bytes.fromhex(line.decode())
    finally:
        writer.close()


def _blocking(text: str) -> Iterator[bytes]:
    with socket.socket(socket.AF_UNIX) as strings:
        strings.connect(os.environ["RACE_SOCKET"])
        strings.sendall(_greeting(text))
        with strings.makefile("rb") as lines:
            for line in lines:
                if line == b"end\n":
                    return
                yield bytes.fromhex(line.decode())
