"""Programs under supervision, with small programs of the test's own."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys

import pytest

from antiphon.cli.console import Console
from antiphon.cli.supervisor import Program, Supervised, supervision

READY = "print('ready', flush=True);"
FOREVER = f"import time; {READY} time.sleep(3600)"
STUBBORN = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY} time.sleep(3600)"


class Screen(io.StringIO):
    """What was printed; tells when more comes."""

    def __init__(self) -> None:
        super().__init__()
        self._more = asyncio.Event()

    def write(self, text: str) -> int:
        self._more.set()
        return super().write(text)

    async def until(self, text: str, times: int = 1) -> None:
        async with asyncio.timeout(30):
            while self.getvalue().count(text) < times:
                self._more.clear()
                await self._more.wait()


def _program(name: str, code: str, grace_s: float = 30.0) -> Program:
    return Program(name, (sys.executable, "-c", code), os.environ.copy(), grace_s)


async def test_what_a_program_prints_is_shown_with_its_name() -> None:
    screen = Screen()
    async with supervision(Console(screen)) as supervisor:
        supervisor.start(_program("talker", f"import sys; sys.stderr.write('oh\\n'); {FOREVER}"))
        await screen.until("talker   | oh\n")
        await screen.until("talker   | ready\n")


async def test_an_endless_line_is_cut_and_not_lost() -> None:
    screen = Screen()
    async with supervision(Console(screen)) as supervisor:
        supervisor.start(_program("talker", f"print('x' * 300_000); {FOREVER}"))
        await screen.until("ready")
    assert screen.getvalue().count("x") == 300_000


@pytest.mark.parametrize(
    ("code", "ending"), [("os._exit(0)", "exit code 0"), ("os.kill(os.getpid(), 9)", "SIGKILL")]
)
async def test_a_program_that_ends_is_started_again_with_growing_waits(code: str, ending: str) -> None:
    screen = Screen()
    async with supervision(Console(screen)) as supervisor:
        supervisor.start(_program("victim", f"import os; {code}"))
        await screen.until(f"victim ended ({ending}); starting it again in 0.2 s")
        await screen.until(f"victim ended ({ending}); starting it again in 0.4 s")


async def test_a_first_start_that_fails_is_reported_with_its_last_words() -> None:
    screen = Screen()
    async with supervision(Console(screen)) as supervisor:
        supervisor.start(_program("bad", "import sys; sys.exit('no such engine')"))
        async with asyncio.timeout(30):
            assert str(await supervisor.failed) == "no such engine"
    assert screen.getvalue() == ""


async def test_a_program_that_does_not_exist_is_reported() -> None:
    async with supervision(Console(Screen())) as supervisor:
        supervisor.start(Program("bad", ("/no/such/program",), {}, 1.0))
        async with asyncio.timeout(30):
            assert str(await supervisor.failed) == "bad cannot be started: No such file or directory."


async def test_once_settled_every_failure_is_followed_by_a_start() -> None:
    screen = Screen()
    code = f"import os, signal; {READY} signal.sigwait([signal.SIGUSR1]); os._exit(1)"
    block = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]);"
    async with supervision(Console(screen)) as supervisor:
        (program,) = supervisor.start(_program("victim", block + code))
        await screen.until("ready")
        supervisor.settle()
        assert program.pid is not None
        os.kill(program.pid, signal.SIGUSR1)
        await screen.until("victim ended (exit code 1); starting it again in 0.2 s")
        await screen.until("ready", times=2)
    assert not supervisor.failed.done()


async def test_the_last_started_is_stopped_first() -> None:
    screen = Screen()
    last_words = (
        f"import signal, time, sys; signal.signal(15, lambda *_: sys.exit('bye')); {READY} time.sleep(3600)"
    )
    async with supervision(Console(screen)) as supervisor:
        supervisor.start(_program("first", last_words))
        supervisor.start(_program("second", last_words))
        await screen.until("ready", times=2)
    said = screen.getvalue()
    assert said.index("second   | bye") < said.index("first    | bye")


async def test_what_ignores_the_request_to_end_is_killed_after_its_grace() -> None:
    screen = Screen()
    async with supervision(Console(screen)) as supervisor:
        (program,) = supervisor.start(_program("stubborn", STUBBORN, grace_s=0.1))
        await screen.until("ready")
        pid = program.pid
    assert "stubborn did not end within 0.1 s; killing it" in screen.getvalue()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_at_once_means_without_grace() -> None:
    screen = Screen()
    async with asyncio.timeout(20), supervision(Console(screen)) as supervisor:
        supervisor.start(_program("stubborn", STUBBORN, grace_s=3600))
        await screen.until("ready")
        supervisor.at_once.set()


async def test_a_failure_of_ours_leaves_no_program() -> None:
    screen, programs = Screen(), list[Supervised]()

    async def fail() -> None:
        async with supervision(Console(screen)) as supervisor:
            programs.extend(supervisor.start(_program("forever", FOREVER)))
            await screen.until("ready")
            raise RuntimeError

    with pytest.raises(ExceptionGroup):
        await fail()
    assert programs[0].pid is None


def test_colours_are_for_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    for out, coloured in ((Terminal(), True), (io.StringIO(), False)):
        Console(out).line("node-1", "ready")
        assert ("\x1b" in out.getvalue()) is coloured
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    Console(plain).line("node-1", "ready")
    assert "\x1b" not in plain.getvalue()
