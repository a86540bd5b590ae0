"""What is tried again, what pauses the engine and for how long, and whose turn it is meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from structlog.testing import capture_logs

from antiphon.errors import Draining, EngineCrashed, EngineFailed
from synth_node.network import attempts
from synth_node.network.attempts import Attempts
from synth_node.network.throttle import Throttle
from synth_node.network.trouble import Busy, Doubtful, Failing, Misconfigured, NoConnection
from tests.synth_node.conftest import GUARD_S, soon

Step = bytes | Exception


class Server:
    """Does at each attempt what its script says; with no script left, it speaks. n_asked: attempts so far."""

    def __init__(self, throttle: Throttle, *script: Sequence[Step]) -> None:
        self.script = list(script)
        self.n_asked = 0
        self._attempts = Attempts(throttle, 3)

    async def _attempt(self) -> AsyncGenerator[bytes, None]:
        self.n_asked += 1
        for step in self.script.pop(0) if self.script else [b"a", b"b"]:
            if isinstance(step, Exception):
                raise step
            yield step

    async def speak(self) -> list[bytes]:
        async with asyncio.timeout(GUARD_S):
            return [piece async for piece in self._attempts.audio(self._attempt)]


@pytest.fixture
async def throttle(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Throttle]:
    monkeypatch.setattr(attempts, "FIRST_WAIT_S", 0.001)
    made = Throttle(4)
    made.open()
    yield made
    made.close()


async def test_what_fails_is_tried_a_few_times(throttle: Throttle) -> None:
    server = Server(throttle, [Failing("broke")], [Failing("broke")])
    assert await server.speak() == [b"a", b"b"]
    server.script = [[Failing("broke", "sorry")]] * 4
    with pytest.raises(EngineCrashed, match="broke: sorry"):
        await server.speak()
    assert server.n_asked == 6
    assert throttle.limit == 4


async def test_after_the_first_audio_nothing_is_tried_again(throttle: Throttle) -> None:
    server = Server(throttle, [b"a", Failing("broke")])
    pieces = server._attempts.audio(server._attempt)
    assert await anext(pieces) == b"a"
    with pytest.raises(EngineCrashed, match="broke"):
        await anext(pieces)
    assert server.n_asked == 1


@pytest.mark.parametrize(
    ("failure", "limit"),
    [(Busy("no"), 1), (Failing("no"), 4), (EngineFailed("no"), 4), (Misconfigured("no"), 0)],
)
async def test_what_breaks_off_others_go_on_with(throttle: Throttle, failure: Exception, limit: int) -> None:
    server = Server(throttle, [b"a", failure])
    with pytest.raises(EngineCrashed, match="no"):
        await server.speak()
    assert (server.n_asked, throttle.limit) == (1, limit)


async def test_what_is_busy_is_tried_until_it_is_not_and_less_is_offered(throttle: Throttle) -> None:
    server = Server(throttle, *[[Busy("full")]] * 10)
    assert await server.speak() == [b"a", b"b"]
    assert server.n_asked == 11
    assert throttle.limit == 1


async def test_another_has_its_turn_while_one_waits(throttle: Throttle) -> None:
    server = Server(throttle, [Busy("full", after_s=attempts.MAX_WAIT_S)])
    waiting = asyncio.create_task(server.speak())
    await soon(lambda: throttle.limit == 1, "it was refused")
    assert await server.speak() == [b"a", b"b"]
    assert not waiting.done()
    waiting.cancel()


async def test_what_would_wait_long_goes_to_others(throttle: Throttle) -> None:
    server = Server(throttle, [Busy("full", "in 30 s", 30.0)])
    async with throttle.turn():
        with pytest.raises(Draining, match="full: in 30 s"):
            await server.speak()
        assert (throttle.limit, throttle.paused_for) == (1, None), "the other one stays at work"
    assert await server.speak() == [b"a", b"b"]


@pytest.mark.parametrize("after_s", [5.5, 30.0])
async def test_a_long_wait_pauses_an_engine_with_nothing_else_at_work(
    throttle: Throttle, after_s: float
) -> None:
    server = Server(throttle, [Busy("full", "later", after_s)])
    with pytest.raises(Draining, match="full: later"):
        await server.speak()
    assert (throttle.paused_for, throttle.pause_s) == ("full", after_s)


async def test_what_is_under_way_waits_here(throttle: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "MAX_WAIT_S", 0.0)
    server = Server(throttle, [Busy("full", "later", 0.001)])
    pieces = server._attempts.audio(server._attempt, under_way=True)
    assert [piece async for piece in pieces] == [b"a", b"b"]
    assert throttle.paused_for is None


@pytest.mark.parametrize("n_others", [0, 1])
@pytest.mark.parametrize(("after_s", "pause_s"), [(61.0, 61.0), (1e9, attempts.MAX_PAUSE_S)])
async def test_a_rest_that_is_meant_for_all_is_a_pause(
    throttle: Throttle, after_s: float, pause_s: float, n_others: int
) -> None:
    server = Server(throttle, [Busy("full", "come tomorrow", after_s)])
    async with AsyncExitStack() as others:
        for _ in range(n_others):
            await others.enter_async_context(throttle.turn())
        with pytest.raises(Draining, match="full: come tomorrow"):
            await server.speak()
        assert (throttle.paused_for, throttle.pause_s) == ("full", pause_s)


class Clock:
    """Stands still until the test moves it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr(attempts, "monotonic", lambda: self.now_s)


async def test_a_server_that_takes_nothing_at_all_pauses_the_engine(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, pauses = Clock(monkeypatch), list[float]()
    server = Server(throttle, *[[Busy("full", "no licence")]] * 10_000)
    for _ in range(5):
        speaking = asyncio.create_task(server.speak())
        if not pauses:
            await soon(lambda: server.n_asked > 10, "it is asked again and again")
            clock.now_s += attempts.PATIENCE_S
        n_asked = server.n_asked
        with pytest.raises(Draining, match="full: no licence"):
            await speaking
        assert not pauses or server.n_asked == n_asked + 1, "what is refused after a pause is so at once"
        assert throttle.paused_for == "full"
        pauses.append(throttle.pause_s)
        with pytest.raises(Draining, match="full"):
            await server.speak()
        throttle.open()
    assert pauses == [10, 20, 40, 60, 60]
    server.script = []
    assert await server.speak() == [b"a", b"b"]
    server.script = [[Busy("full")]]
    assert await server.speak() == [b"a", b"b"], "it has spoken, so it is given some time again"


async def test_a_server_that_gives_others_audio_takes_something(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def speaks() -> AsyncGenerator[bytes, None]:
        yield b"other"

    async def is_refused_again() -> None:
        n_asked = server.n_asked
        await soon(lambda: server.n_asked > n_asked + 1 or refused.done(), "it was refused again")

    clock = Clock(monkeypatch)
    server = Server(throttle, *[[Busy("full")]] * 10_000)
    refused = asyncio.create_task(server.speak())
    await is_refused_again()
    assert [piece async for piece in server._attempts.audio(speaks)] == [b"other"]
    clock.now_s += attempts.PATIENCE_S - 1
    assert [piece async for piece in server._attempts.audio(speaks)] == [b"other"]
    clock.now_s += 2
    await is_refused_again()
    assert throttle.paused_for is None
    clock.now_s += attempts.PATIENCE_S
    with pytest.raises(Draining, match="full"):
        await refused


async def test_a_refusal_while_another_is_at_work_pauses_nothing(
    throttle: Throttle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "PATIENCE_S", 0.0)
    server = Server(throttle, [Busy("full")])
    async with throttle.turn():
        speaking = asyncio.create_task(server.speak())
        await soon(lambda: throttle.limit == 1, "it was refused")
        assert throttle.paused_for is None
    assert await speaking == [b"a", b"b"]


async def test_a_server_that_is_away_pauses_the_engine_until_the_next_probe(throttle: Throttle) -> None:
    server = Server(throttle, *[[NoConnection("refused")]] * 3)
    with pytest.raises(Draining, match="refused"):
        await server.speak()
    assert (throttle.paused_for, throttle.pause_s) == ("refused", attempts.RETURN_S)


async def test_a_text_that_a_server_went_away_with_costs_a_run(throttle: Throttle) -> None:
    server = Server(throttle, [Failing("broke")], *[[NoConnection("refused")]] * 2)
    with pytest.raises(EngineCrashed, match="refused"):
        await server.speak()
    assert throttle.paused_for == "refused"


async def test_pauses_for_the_settings_grow_and_are_short_again_after_a_success(throttle: Throttle) -> None:
    server, pauses = Server(throttle), []

    async def fails() -> None:
        server.script = [[Misconfigured("KEY is wrong", "hello")]]
        with capture_logs() as logs, pytest.raises(Draining, match="KEY is wrong: hello"):
            await server.speak()
        assert "hello" not in str(logs), "a server's words may repeat the text"
        pauses.append(throttle.pause_s)
        throttle.open()

    for _ in range(8):
        await fails()
    assert pauses == [10, 20, 40, 80, 160, 320, 600, 600]
    await server.speak()
    await fails()
    assert pauses[-1] == 10


async def test_what_one_text_may_have_brought_about_costs_it_a_run(throttle: Throttle) -> None:
    server = Server(throttle, [Doubtful("may not do this")])
    with pytest.raises(EngineCrashed, match="may not do this"):
        await server.speak()
    assert throttle.paused_for == "may not do this"


async def test_a_trouble_that_lasts_has_a_longer_pause_of_its_own(throttle: Throttle) -> None:
    server, pauses = Server(throttle), []
    for pause_s in (30.0, 30.0, 600.0, 900.0):
        server.script = [[Misconfigured("the day's limit is used up", pause_s=pause_s)]]
        with pytest.raises(Draining):
            await server.speak()
        pauses.append(throttle.pause_s)
        throttle.open()
    assert pauses == [30, 60, 600, 900]


async def test_two_that_fail_together_are_one_pause(throttle: Throttle) -> None:
    together = asyncio.Barrier(2)

    async def attempt() -> AsyncGenerator[bytes, None]:
        await together.wait()
        raise Misconfigured("KEY is wrong")
        yield b""

    trying = Attempts(throttle, 3)
    tasks = [asyncio.ensure_future(anext(trying.audio(attempt))) for _ in range(2)]
    done, _ = await asyncio.wait(tasks, timeout=GUARD_S)
    assert [type(task.exception()) for task in done] == [Draining] * 2
    assert throttle.pause_s == attempts.FIRST_PAUSE_S


async def test_a_fault_of_the_request_is_not_tried_again(throttle: Throttle) -> None:
    server = Server(throttle, [EngineFailed("no")])
    with pytest.raises(EngineFailed):
        await server.speak()
    assert (server.n_asked, throttle.limit) == (1, 4)
