"""A TCP proxy in front of nats-server that holds bytes back, so that a test can act in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from tests.conftest import GUARD_S


class Direction:
    """One direction of all connections through a proxy."""

    def __init__(self) -> None:
        self._holding = False
        self._held: list[tuple[asyncio.StreamWriter, bytes]] = []
        self._passed = b""
        self._moved = asyncio.Event()

    def hold(self) -> None:
        """Keep what comes from now on."""
        self._holding = True

    def release(self) -> None:
        """Let what was held go on, and what comes from now on."""
        self._holding = False
        held, self._held = self._held, []
        for writer, data in held:
            self._write(writer, data)

    def forget(self) -> None:
        """Begin to count anew what has passed."""
        self._passed = b""

    async def until_held(self, pattern: bytes) -> None:
        """Wait until `pattern` is among what is held."""
        await self._until(lambda: self.holds(pattern), f"held: {pattern!r}")

    async def until_passed(self, pattern: bytes, times: int = 1) -> None:
        """Wait until `pattern` has gone through so many times since `forget`."""
        await self._until(lambda: self.count(pattern) >= times, f"passed: {pattern!r}")

    def count(self, pattern: bytes) -> int:
        """Return how often `pattern` has gone through since `forget`."""
        return self._passed.count(pattern)

    def holds(self, pattern: bytes) -> bool:
        """Tell whether `pattern` is among what is held."""
        return pattern in b"".join(data for _, data in self._held)

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(GUARD_S):
                while not condition():
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise AssertionError(f"never {what}; passed: {self._passed[-2000:]!r}") from None

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes until the connection ends; what is held then is lost."""
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self._holding:
                    self._held.append((writer, data))
                else:
                    self._write(writer, data)
                self._moved.set()

    def drop(self, writer: asyncio.StreamWriter) -> None:
        """Lose what is held for a connection that has ended."""
        self._held = [(each, data) for each, data in self._held if each is not writer]

    def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self._passed += data
        writer.write(data)


class Proxy:
    """Stands between one process and nats-server. up: towards the server, down: towards the process."""

    def __init__(self, server_url: str) -> None:
        self.url = ""
        self.up = Direction()
        self.down = Direction()
        host, _, port = server_url.removeprefix("nats://").rpartition(":")
        self._server = host, int(port)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()
        self._port = 0
        self._listener: asyncio.Server | None = None

    async def listen(self) -> None:
        """Take connections, always on the same port."""
        if self._listener is None:
            self._listener = await asyncio.start_server(self._on_connection, "127.0.0.1", self._port)
            self._port = self._listener.sockets[0].getsockname()[1]
            self.url = f"nats://127.0.0.1:{self._port}"

    def refuse(self) -> None:
        """Take no new connection until `listen`."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def release(self) -> None:
        """Hold nothing any more, and count anew."""
        for direction in (self.up, self.down):
            direction.release()
            direction.forget()

    def cut(self) -> None:
        """End every connection as it stands; the process may connect again."""
        for writer in list(self._open):
            writer.transport.abort()

    async def until_cut(self) -> None:
        """Wait until no connection goes through."""
        async with asyncio.timeout(GUARD_S):
            while self._open:
                self._ended.clear()
                await self._ended.wait()

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._server)
        except OSError:
            writer.close()
            return
        self._open |= {writer, server_writer}
        try:
            async with asyncio.TaskGroup() as pumps:
                both = [
                    pumps.create_task(self.up.pump(reader, server_writer), name="proxy up"),
                    pumps.create_task(self.down.pump(server_reader, writer), name="proxy down"),
                ]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for pump in both:
                    pump.cancel()
        finally:
            self.up.drop(server_writer)
            self.down.drop(writer)
            self._open -= {writer, server_writer}
            for each in (writer, server_writer):
                each.close()
            self._ended.set()


@asynccontextmanager
async def proxy(server_url: str) -> AsyncIterator[Proxy]:
    """Listen in front of the server at `server_url`."""
    between = Proxy(server_url)
    await between.listen()
    try:
        yield between
    finally:
        between.refuse()
        between.cut()
        await between.until_cut()
