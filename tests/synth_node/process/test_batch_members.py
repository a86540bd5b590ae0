"""Whatever becomes of one in a batch, the others get what is theirs."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from antiphon.errors import EngineCrashed, EngineFailed, UnknownVoice
from synth_node.host import EngineRequest, NotStarted
from tests.synth_node.conftest import GUARD_S, Notes, soon
from tests.synth_node.process.support_batches import listen, say, say_all, sharing


async def test_the_failure_of_one_is_its_callers_only(notes: Notes) -> None:
    async with sharing("Whole", 4) as hosts:
        one, failed, none, four = await say_all(hosts, "one", "fail hard", "none", "four")
        assert [one, four] == ["one", "four"]
        assert isinstance(failed, EngineFailed)
        assert str(failed) == "ValueError: hard"
        assert isinstance(none, EngineFailed)
        assert "gave None as a piece of audio" in str(none)
    assert len(notes.batches()) == 1
    async with sharing("Streaming", 3) as hosts:
        one, failed, more = await say_all(hosts, "one", "fail hard", "three and some")
        assert (one, more) == ("one", "three and some")
        assert str(failed) == "ValueError: hard"


async def test_an_unknown_voice_does_not_get_into_the_batch(notes: Notes) -> None:
    async with sharing("Whole", 2) as hosts:
        bad, good = await asyncio.gather(
            say(hosts[0], "bad", voice="dora"), say(hosts[1], "good"), return_exceptions=True
        )
        assert isinstance(bad, UnknownVoice)
        assert bad.param == "voice"
        assert good == "good"
    assert notes.batches() == [["good"]]
    async with sharing("Options", 2, voice="anna") as hosts:
        work = [say(hosts[0], "a", voice="alloy", speed=2.0), say(hosts[1], "b")]
        assert await asyncio.gather(*work) == ["ben 2.0 a", "anna 1.0 b"]


async def test_a_text_that_breaks_the_batch_breaks_only_itself(notes: Notes) -> None:
    async with sharing("Whole", 3) as hosts:
        with capture_logs() as logs:
            one, broken, three = await say_all(hosts, "one", "raise secret", "three")
        assert (one, three) == ("one", "three")
        assert isinstance(broken, EngineFailed)
        assert str(broken) == "ValueError: secret"
    assert sorted(map(len, notes.batches())) == [1, 1, 1, 3]
    assert any("ValueError in a batch of 3" in entry.get("line", "") for entry in logs)
    assert "secret" not in str(logs)


async def test_a_stream_that_breaks_tells_nobody_the_words_of_another(notes: Notes) -> None:
    async with sharing("Streaming", 2) as hosts:
        long, broken = await say_all(hosts, "much longer than the secret of the other", "raise secret")
        for each in (long, broken):
            assert isinstance(each, EngineCrashed), "it has begun, so it is spoken anew elsewhere"
            assert str(each) == "the engine failed a whole batch: ValueError"


@pytest.mark.parametrize(
    ("form", "text", "sentence"),
    [
        ("Whole", "return [b'', b'']", "returned 2 audios for 1 requests"),
        ("Whole", "return []", "returned 0 audios for 1 requests"),
        ("Whole", "return b'xx'", "returned bytes; it must return a list of audios"),
        ("Whole", "return None", "returned None; it must"),
        ("Whole", "return [array('d', [0.5])]", "samples of type float64"),
        ("Streaming", "index -1", "yielded the index -1 in a batch of 1"),
        ("Streaming", "index 1", "yielded the index 1 in a batch of 1"),
        ("Streaming", "odd b'xx1'", "yielded bytes; it must yield (index, audio)"),
        ("Streaming", "odd (0, 0.5)", "gave float as a piece of audio"),
    ],
)
async def test_what_an_engine_must_not_give_is_named(form: str, text: str, sentence: str) -> None:
    async with sharing(form, 1) as (host,):
        with pytest.raises(EngineFailed) as failed:
            await say(host, text)
        assert sentence in str(failed.value)
        assert await say(host, "fine") == "fine"


async def test_what_comes_behind_the_end_of_one_is_nobodys(notes: Notes) -> None:
    async with sharing("Streaming", 2) as hosts:
        more, other = await say_all(hosts, "more", "begun, and spoiled")
        assert more == "more"
        assert str(other) == "the engine failed a whole batch: WrongType"
        await hosts[1].__aexit__(None, None, None)
        with capture_logs() as logs:
            assert await say(hosts[0], "more") == "more"
            assert await say(hosts[0], "fine") == "fine"
        assert any(
            "in a batch, behind an end: synthesize_batch yielded more" in entry.get("line", "")
            for entry in logs
        )
    assert len({event["pid"] for event in notes.all() if "pid" in event}) == 1, "nothing was killed"


async def test_a_wrong_number_of_audios_is_nobodys_audio(notes: Notes) -> None:
    async with sharing("Whole", 2) as hosts:
        empty, two = await say_all(hosts, "return [b'']", "two")
        assert (empty, two) == ("", "two")
    assert sorted(map(len, notes.batches())) == [1, 1, 2]


async def test_words_are_told_to_whom_they_belong() -> None:
    async with sharing("Worded", 2) as hosts:
        members = [
            host.speak(EngineRequest(text, timestamps=bool(n)))
            for n, (host, text) in enumerate(zip(hosts, ["one", "three"], strict=True))
        ]
        assert await asyncio.gather(*map(listen, hosts, members)) == ["one", "three"]
        assert members[0].take_words() == []
        assert members[1].take_words() == [(0, 5, 0, 400)]


# -- what becomes of all


async def test_a_crash_is_all_of_the_batchs_and_nobody_elses(notes: Notes) -> None:
    async with sharing("Whole", 3, wait_s=0.01) as hosts:
        crashed = await say_all(hosts, "one", "segfault", "three")
        assert all(isinstance(each, EngineCrashed) and "SIGSEGV" in str(each) for each in crashed)
        assert len({id(each) for each in crashed}) == 3
        assert await say_all(hosts, "a", "b", "c") == ["a", "b", "c"]


async def test_who_waits_for_the_next_batch_outlives_a_crash(notes: Notes, tmp_path: Path) -> None:
    async with sharing("Whole", 2, wait_s=0.01) as hosts:
        running = asyncio.create_task(say(hosts[0], f"wait {tmp_path / 'never'}"))
        await soon(lambda: bool(notes.batches()), "it runs")
        waits = hosts[1].speak(EngineRequest("later"))
        os.kill(notes.all()[0]["pid"], signal.SIGKILL)
        with pytest.raises(EngineCrashed):
            await running
        assert await listen(hosts[1], waits) == "later"


async def test_a_batch_that_never_reached_the_engine_can_be_spoken_again(notes: Notes) -> None:
    async with sharing("Whole", 2) as hosts:
        assert await say_all(hosts, "a", "b") == ["a", "b"]
        pid = notes.all()[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        members = [host.speak(EngineRequest("c")) for host in hosts]
        await soon(lambda: not hosts[0].is_ready, "it is sent")
        os.kill(pid, signal.SIGKILL)
        for host, member in zip(hosts, members, strict=True):
            with pytest.raises(NotStarted):
                await listen(host, member)
        assert await say_all(hosts, "c", "c") == ["c", "c"]


@pytest.mark.parametrize("form", ["Whole", "Streaming"])
async def test_a_hang_is_the_batchs(form: str) -> None:
    async with sharing(form, 2, idle_s=0.3) as hosts:
        hung = await say_all(hosts, "a", "hang")
        assert all(isinstance(each, EngineCrashed) and "silent for 0.3 s" in str(each) for each in hung)
        assert await say_all(hosts, "a", "b") == ["a", "b"]


async def test_waiting_for_another_batch_is_no_hang(notes: Notes) -> None:
    async with sharing("Streaming", 2, wait_s=0.01, idle_s=0.3) as hosts:
        endless = hosts[0].speak(EngineRequest("endless"))
        assert await endless.next()
        late = asyncio.create_task(listen(hosts[1], hosts[1].speak(EngineRequest("late"))))
        until = asyncio.get_running_loop().time() + 0.6
        while asyncio.get_running_loop().time() < until:
            assert await endless.next()
        assert not late.done()
        hosts[0].leave(endless)
        assert await late == "late"


async def test_a_listener_who_is_far_behind_holds_up_the_batch_and_it_does_not_hang(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("synth_node.process.batch.MAX_BUFFERED_BYTES", 1024 * 1024)
    async with sharing("Streaming", 2, idle_s=0.3) as hosts:
        slow, quick = (host.speak(EngineRequest(f"endless {n}")) for n, host in enumerate(hosts))
        assert await slow.next()
        n_bytes = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(0.8):
                while piece := await quick.next():
                    n_bytes += len(piece)
        assert n_bytes < 2 * 1024 * 1024, "what was on its way, and no more"
        hosts[0].leave(slow)
        for _ in range(50):
            assert await quick.next(), "nobody holds it up any more"
        hosts[1].leave(quick)


async def test_who_has_ended_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synth_node.process.batch.MAX_BUFFERED_BYTES", 1000)
    async with sharing("Whole", 2) as hosts:
        unheard = hosts[0].speak(EngineRequest("x" * 100))
        long = "y" * 3000  # more than is read at once
        assert await asyncio.wait_for(say(hosts[1], long), GUARD_S) == long
        assert await listen(hosts[0], unheard) == "x" * 100
