"""Speaks several utterances with one call of the engine, and sees that each gets its own audio.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, Tuple  # noqa: UP035  (Python 3.8)

from .failure import log_stack
from .pieces import Listener, WrongType, audio, kind_of

Request = Tuple[SimpleNamespace, Any]  # noqa: UP006  (Python 3.8)


class BatchFailed(Exception):
    """The engine failed a whole batch, in which this utterance had begun: alone it may yet be spoken."""

    antiphon_code = "engine_crashed"


class WrongNumber(Exception):
    """The engine returned more or fewer audios than there are requests."""


class Batch:
    """Utterances that an engine is given at once, each with an Emit of its own.

    emit: tells whether any of them is still wanted.
    """

    def __init__(self, engine: Any, requests: Sequence[Request], emit: Any) -> None:
        self._engine = engine
        self._emit = emit
        self._members = [Member(engine, request, each) for request, each in requests]

    def speak(self) -> None:
        """Speak all; a request that the engine cannot take never gets to it.

        If the engine fails the whole batch, those of which nothing has been heard are spoken one by one:
        neither the text that broke it nor the error, which may repeat that text, is theirs. Those of which
        something has been heard are as if it had crashed: their callers come again, and are spoken alone.
        """
        for member in self._members:
            member.check()
        members = self._open()
        try:
            if members:
                self._perform(members)
        except MemoryError:
            raise  # a process that ran out of memory is better started afresh
        except (Exception, KeyboardInterrupt) as exc:
            if len(members) == 1:
                members[0].fail(exc)
                return
            log_stack(exc, f"a batch of {len(members)}")
            for member in self._open():
                if member.heard:
                    member.fail(BatchFailed(f"the engine failed a whole batch: {type(exc).__name__}"))
                else:
                    self._perform_alone(member)

    def end(self) -> None:
        """End what has not ended."""
        for member in self._open():
            member.end()

    def _open(self) -> list[Member]:
        return [member for member in self._members if member.open]

    def _perform_alone(self, member: Member) -> None:
        try:
            self._perform([member])
        except MemoryError:
            raise
        except (Exception, KeyboardInterrupt) as exc:
            member.fail(exc)

    def _perform(self, members: Sequence[Member]) -> None:
        requests = [SimpleNamespace(**vars(member.request)) for member in members]
        result = self._engine.result_of(self._engine.call_batch(requests), self._emit)
        if hasattr(result, "__aiter__") or hasattr(result, "__next__"):
            self._engine.hear(result, partial(self._take, members), self._emit)
            for member in members:
                member.end()
            return
        no_list = isinstance(result, (bytes, bytearray, memoryview, str, dict))
        if no_list or not (hasattr(result, "__len__") and hasattr(result, "__iter__")):
            raise WrongType(
                f"synthesize_batch returned {kind_of(result)}; "
                "it must return a list of audios, or yield (index, audio)"
            )
        if len(result) != len(members):
            raise WrongNumber(f"synthesize_batch returned {len(result)} audios for {len(members)} requests")
        for member, given in zip(members, result):  # noqa: B905  (Python 3.8)
            member.give(given)

    def _take(self, members: Sequence[Member], pair: Any) -> None:
        if self._emit.cancelled():
            self._emit.cancel()
        try:
            index, piece = pair
            index = operator.index(index)
        except (TypeError, ValueError):
            raise WrongType(
                f"synthesize_batch yielded {kind_of(pair)}; it must yield (index, audio)"
            ) from None
        if not 0 <= index < len(members):
            raise WrongType(f"synthesize_batch yielded the index {index} in a batch of {len(members)}")
        members[index].take(piece)
        if any(member.left for member in members) and not any(member.open for member in members):
            self._emit.cancel()  # the engine would go on for those who have left


class Member:
    """One utterance of a batch.

    open: it has not ended. heard: some of its audio is on its way. left: it has ended, for its caller left.
    """

    def __init__(self, engine: Any, request: SimpleNamespace, emit: Any) -> None:
        self.request = request
        self.open = True
        self.heard = False
        self.left = False
        self._engine = engine
        self._emit = emit
        self._complete = False
        self._hear = Listener(engine, request, self)
        self.word = emit.word

    def check(self) -> None:
        """End it if its request is at fault."""
        try:
            self._engine.check(self.request)
        except Exception as exc:
            self.fail(exc)

    def give(self, given: Any) -> None:
        """End it with all of its audio, or with the exception in the place of that."""
        if isinstance(given, Exception):
            self.fail(given)
            return
        try:
            whole = audio(given, self._engine.sample_rate)
        except WrongType as exc:
            self.fail(exc)
        else:
            self.end(whole)

    def take(self, piece: Any) -> None:
        """Take what the engine yields for it: audio, its end as None, or an exception."""
        if self._complete:
            raise WrongType("synthesize_batch yielded more for a request that it had ended")
        self._complete = piece is None or isinstance(piece, Exception)
        if not self.open:
            return
        if isinstance(piece, Exception):
            self.fail(piece)
        elif piece is None:
            self.end()
        elif self._emit.cancelled():
            self.left = True
            self.end()
        else:
            try:
                self._hear(piece)
            except WrongType as exc:
                self.fail(exc)

    def __call__(self, piece: bytes) -> None:
        """Send a piece."""
        self.heard = True
        self._emit.send(piece)

    def end(self, whole: bytes | None = None) -> None:
        """End it, unless it has ended."""
        if self.open:
            self.open = False
            self._emit.end(whole)

    def fail(self, exc: BaseException) -> None:
        """End it with an error; one that has ended has its audio, and the log alone tells what was wrong."""
        if self.open:
            self.open = False
            self._emit.fail(exc)
        else:
            log_stack(exc, "a batch, behind an end")
