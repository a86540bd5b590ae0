"""Gives every form of engine that a user may write one face.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Callable  # noqa: UP035  (Python 3.8)

OPTIONS = ("voice", "speed", "format", "sample_rate")


class CannotUse(Exception):
    """It is no engine; a sentence that says why."""


class Refused(Exception):
    """The request is at fault, not the engine."""

    def __init__(self, code: str, text: str, param: str) -> None:
        super().__init__(text)
        self.antiphon_code = code
        self.param = param


class WrongType(TypeError):
    """The engine gave something that is no audio."""


def adapt(target: Any, spec: str) -> Engine:
    """Give what `spec` named the one face. Raises CannotUse."""
    try:
        if inspect.isclass(target):
            target = target()
        if callable(getattr(target, "speak_to", None)):
            return PushEngine(target)
        if callable(getattr(target, "synthesize", None)):
            return ClassEngine(target)
        if callable(target):
            return FunctionEngine(target)
    except CannotUse:
        raise
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}".splitlines()[0][:500]
        raise CannotUse(f"{spec} cannot be set up: {reason}") from exc
    raise CannotUse(f"{spec} is no engine: a {type(target).__name__} can neither be called nor synthesize")


class Engine:
    """What the engine process knows of an engine.

    sample_rate: of its PCM in Hz; None for one that makes whole files. voices: (id, name, language) each.
    interruptible: it can stop between two pieces; None while that is not known.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._loop: Any = None
        self.name = str(getattr(target, "name", None) or getattr(target, "__name__", type(target).__name__))
        self.sample_rate: int | None = getattr(target, "sample_rate", None)
        if self.sample_rate is not None and not (
            isinstance(self.sample_rate, int) and 1000 <= self.sample_rate <= 384_000
        ):
            raise CannotUse(f"{self.name}: sample_rate is {self.sample_rate!r}, it must be a number of Hz")
        self.voices = [_voice(voice) for voice in getattr(target, "voices", None) or ()]
        self.interruptible: bool | None = None

    def describe(self) -> dict[str, object]:
        """Return what the node wants to know."""
        return {
            "name": self.name,
            "sample_rate": self.sample_rate,
            "voices": self.voices,
            "interruptible": self.interruptible,
        }

    def check_voice(self, voice: str | None) -> None:
        """Raise CannotUse if the default voice does not exist."""
        if voice is not None and not self.has_voice(voice):
            raise CannotUse(f"{self.name} has no voice {voice!r}, which is to be the default")

    def has_voice(self, voice: str) -> bool:
        """Return whether the engine takes `voice`; one that lists none takes any."""
        return not self.voices or any(voice == known[0] for known in self.voices)

    def speak(self, request: SimpleNamespace, emit: Any) -> bytes | None:
        """Return the audio, or emit it piece by piece and return None."""
        if request.voice is not None and not self.has_voice(request.voice):
            raise Refused("unknown_voice", f"there is no voice {request.voice!r}", "voice")
        result = self.call(request)
        if inspect.isawaitable(result):
            result = self._run(_awaited(result), emit)
        if isinstance(result, (bytes, bytearray, memoryview)):
            return bytes(result)
        if hasattr(result, "__aiter__"):
            self._run(_emit_all(result, emit, self._piece), emit)
            return None
        if isinstance(result, (str, dict)) or not hasattr(result, "__iter__"):
            raise WrongType(
                f"the engine returned {_kind(result)}; it must return bytes, or an iterable of bytes"
            )
        if hasattr(result, "__array_interface__"):  # all samples at once
            return self._piece(result)
        self._emit_each(result, emit)
        return None

    def call(self, request: SimpleNamespace) -> Any:
        """Start the user's code."""
        return self._target.synthesize(request)

    def close(self) -> None:
        """Let the engine tidy up."""
        close = getattr(self._target, "close", None)
        if callable(close):
            result = close()
            if inspect.isawaitable(result):
                self._run(_awaited(result), None)

    def _emit_each(self, pieces: Any, emit: Any) -> None:
        pieces = iter(pieces)
        try:
            for piece in pieces:
                emit(self._piece(piece))
        finally:
            if hasattr(pieces, "close"):
                pieces.close()

    def _piece(self, piece: Any) -> bytes:
        if isinstance(piece, bytes):
            return piece
        try:
            view = memoryview(piece)
        except TypeError:
            raise WrongType(f"the engine gave {_kind(piece)} as a piece of audio; it must be bytes") from None
        if view.format not in ("b", "B", "c", "h", "<h"):
            raise WrongType(f"the engine gave samples of type {view.format!r}; they must be 16-bit integers")
        return view.tobytes()

    def _run(self, work: Any, emit: Any) -> Any:
        """Run a coroutine on the engine's own loop; a cancel from the caller cancels it."""
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        task = self._loop.create_task(work)
        cancelled = []

        def on_readable() -> None:
            if emit.cancelled():
                cancelled.append(True)
                self._loop.remove_reader(emit.fileno())
                task.cancel()

        if emit is not None:
            self._loop.add_reader(emit.fileno(), on_readable)
        try:
            return self._loop.run_until_complete(task)
        except asyncio.CancelledError:
            if cancelled:
                emit.cancel()
            raise RuntimeError("the engine cancelled itself") from None
        finally:
            if emit is not None:
                self._loop.remove_reader(emit.fileno())


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


async def _emit_all(pieces: Any, emit: Any, check: Callable[[Any], bytes]) -> None:
    try:
        async for piece in pieces:
            emit(check(piece))
    finally:
        if hasattr(pieces, "aclose"):
            await pieces.aclose()


class PushEngine(Engine):
    """An engine of ours: `speak_to(request, emit)` emits as it goes and looks after its voices itself."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.interruptible = True

    def has_voice(self, voice: str) -> bool:
        """Ask the engine."""
        return bool(self._target.has_voice(voice))

    def speak(self, request: SimpleNamespace, emit: Any) -> None:
        """Let the engine emit."""
        if request.voice is not None and not self.has_voice(request.voice):
            raise Refused("unknown_voice", f"there is no voice {request.voice!r}", "voice")
        self._target.speak_to(request, emit)


class ClassEngine(Engine):
    """`synthesize(request)` of an object."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.interruptible = _interruptible(target.synthesize)


class FunctionEngine(Engine):
    """A function of the text and of those options that it declares."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        called = target if inspect.isroutine(target) else target.__call__
        self.interruptible = _interruptible(called)
        self._declared, self._required = _declared(target)

    def call(self, request: SimpleNamespace) -> Any:
        """Pass what the function declares; None is left out where the function has a default of its own."""
        if request.speed != 1 and "speed" not in self._declared:
            raise Refused("invalid_request", "this model speaks at speed 1 only", "speed")
        options = {}
        for option in self._declared:
            value = getattr(request, option)
            if value is not None or option in self._required:
                options[option] = value
        return self._target(request.text, **options)


def _declared(function: Any) -> tuple[list[str], list[str]]:
    """Return the options that a function takes, and those of them that it must be given."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # not written in Python
        return [], []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or parameters[0].kind not in (*positional, inspect.Parameter.VAR_POSITIONAL):
        raise CannotUse(
            f"{getattr(function, '__name__', function)} does not take the text as its first parameter"
        )
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return list(OPTIONS), list(OPTIONS)
    by_name = [
        p
        for p in parameters[1:]
        if p.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    ]
    unknown = [p.name for p in by_name if p.name not in OPTIONS and p.default is inspect.Parameter.empty]
    if unknown:
        raise CannotUse(
            f"{getattr(function, '__name__', function)} needs {', '.join(unknown)}; "
            f"it can be given {', '.join(OPTIONS)}"
        )
    known = [p for p in by_name if p.name in OPTIONS]
    return [p.name for p in known], [p.name for p in known if p.default is inspect.Parameter.empty]


def _interruptible(function: Any) -> bool | None:
    streams = (inspect.isgeneratorfunction, inspect.isasyncgenfunction, inspect.iscoroutinefunction)
    return True if any(is_kind(function) for is_kind in streams) else None


def _voice(voice: Any) -> tuple[str, str, str]:
    """Read one voice: its id; or (id, name, language); or a mapping or an object with those fields."""
    if isinstance(voice, str):
        return voice, voice, ""
    if isinstance(voice, (tuple, list)):
        fields: Iterator[Any] = iter(voice)
        return str(next(fields)), str(next(fields, "")), str(next(fields, ""))
    get = voice.get if hasattr(voice, "get") else lambda key, default: getattr(voice, key, default)
    return str(get("id", "")), str(get("name", "")), str(get("language", ""))


def _kind(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__}"
