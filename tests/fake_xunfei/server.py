"""A strict stand-in for the Xunfei gateway, for tests and for demos without an account."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.fake_xunfei.apps import App
from tests.fake_xunfei.handshake import REFUSALS, Guard, Refusal
from tests.fake_xunfei.messages import Online, Order, Service, SuperHuman
from tests.fake_xunfei.scenarios import Plan, Scenario
from tests.fake_xunfei.session import Session
from tests.fake_xunfei.voice import Audio, Mode, Speaker

ONLINE_PATH: Final = "/v2/tts"
SUPER_PATHS: Final = ("/v1/private/mcd9m97e6", "/v1/private/medd90fec")
_CLOSE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Options:
    """How the server is.

    piece_bytes: of audio in a frame. service_s: before the first frame. pace: audio seconds sent per second;
    0 sends all at once. close_delay_s: after status 2. idle_s: without a request. most_at_once: connections
    of one app, more get 11203. most_per_s: starts of one app in a second, more get 11202.
    """

    apps: Sequence[App] = field(default_factory=lambda: (App(),))
    voice: Mode = "tone"
    piece_bytes: int = 4096
    service_s: float = 0.0
    pace: float = 0.0
    close_delay_s: float = 5.0
    idle_s: float = 10.0
    bare_idle_close: bool = False
    most_at_once: int | None = None
    most_per_s: int | None = None
    strict_host: bool = True
    clock: Callable[[], float] = time.time


class FakeXunfei:
    """The running server and what it has seen.

    open, peak, total: connections now, at most at once, and ever, refused handshakes left out. outcomes: of
    handshakes, "101" or the status with the message. orders: the valid requests. authorizations: hashes of
    what each handshake was signed with. close_codes: what clients closed with; 1006 without a close frame.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.port = 0
        self.open = self.peak = self.total = 0
        self.outcomes: Counter[str] = Counter()
        self.orders: list[Order] = []
        self.authorizations: list[str] = []
        self.close_codes: list[int] = []
        self.errors_sent: list[int] = []
        self.default = Plan()
        self._plans: deque[Plan] = deque()
        self._admitted: dict[ServerConnection, tuple[App, Plan]] = {}
        self._open_of: Counter[str] = Counter()
        self._starts: dict[str, deque[float]] = {}
        self._speaker = Speaker(options.voice)
        self._guard = Guard(options.apps, (ONLINE_PATH, *SUPER_PATHS), strict_host=options.strict_host)

    @property
    def app(self) -> App:
        """The first app."""
        return self.options.apps[0]

    @property
    def url(self) -> str:
        """Of online TTS."""
        return f"ws://127.0.0.1:{self.port}{ONLINE_PATH}"

    @property
    def super_url(self) -> str:
        """Of super-human TTS."""
        return f"ws://127.0.0.1:{self.port}{SUPER_PATHS[0]}"

    def next(self, scenario: Scenario, *, times: int = 1, code: int = 10010, refusal: str = "503") -> None:
        """Have the next connections go like that, behind those that are planned already."""
        self._plans.extend([Plan(scenario, code, refusal)] * times)

    def always(self, scenario: Scenario, *, code: int = 10010, refusal: str = "503") -> None:
        """Have all connections go like that for which nothing else is planned."""
        self.default = Plan(scenario, code, refusal)

    # -- the handshake

    def process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Let the request in, or answer why not."""
        query = parse_qs(urlsplit(request.path).query)
        signed = "".join(query.get("authorization", []) + query.get("date", []))
        self.authorizations.append(hashlib.sha256(signed.encode()).hexdigest())
        plan = self._plans.popleft() if self._plans else self.default
        found = self._guard.admit(request.path, request.headers.get("Host"), self.options.clock())
        if plan.scenario is Scenario.REFUSAL:
            found = REFUSALS[plan.refusal]
        if isinstance(found, Refusal):
            self.outcomes[f"{found.status} {found.message}"] += 1
            return connection.respond(found.status, found.body)
        self.outcomes["101"] += 1
        self._admitted[connection] = found, plan
        return None

    # -- a session

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one connection, and note how it went."""
        app, plan = self._admitted.pop(connection)
        self.open += 1
        self.total += 1
        self.peak = max(self.peak, self.open)
        self._open_of[app.app_id] += 1
        path = urlsplit(connection.request.path if connection.request else "").path
        service: Service = Online() if path == ONLINE_PATH else SuperHuman()
        session = Session(self, connection, service, app, plan, self._too_many(app))
        try:
            await session.run()
        except ConnectionClosed:
            pass
        finally:
            self.open -= 1
            self._open_of[app.app_id] -= 1
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await connection.wait_closed()
            received = connection.protocol.close_rcvd
            self.close_codes.append(1006 if received is None else received.code)

    def _too_many(self, app: App) -> int | None:
        """Return the code that says that this connection is one too many."""
        starts = self._starts.setdefault(app.app_id, deque())
        now = self.options.clock()
        while starts and now - starts[0] >= 1:
            starts.popleft()
        starts.append(now)
        if self.options.most_per_s is not None and len(starts) > self.options.most_per_s:
            return 11202
        most = self.options.most_at_once
        return 11203 if most is not None and self._open_of[app.app_id] > most else None

    async def speak(self, order: Order) -> Audio:
        """Return the audio of a request, once its service time is over."""
        audio, _ = await asyncio.gather(
            self._speaker.speak(order.text, order.manner), asyncio.sleep(self.options.service_s)
        )
        return audio


@asynccontextmanager
async def fake_xunfei(*, host: str = "127.0.0.1", port: int = 0, **options: Any) -> AsyncIterator[FakeXunfei]:
    """Run a server; `options` are those of `Options`."""
    fake = FakeXunfei(Options(**options))
    async with serve(
        fake.handle,
        host,
        port,
        process_request=fake.process_request,
        compression=None,
        close_timeout=_CLOSE_S,
        ping_interval=None,
        max_size=2**20,
    ) as server:
        fake.port = server.sockets[0].getsockname()[1]
        try:
            yield fake
        finally:
            for connection in list(server.connections):
                connection.transport.abort()
