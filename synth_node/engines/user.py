"""Gives every form of engine that a user may write one face.

Runs in the engine's process and environment: standard library only, Python 3.8 or newer.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator
from itertools import chain, islice
from types import SimpleNamespace
from typing import Any, Callable  # noqa: UP035  (Python 3.8)

from .failure import log_all, reason
from .pieces import Listener, WrongType, audio, hear_all, hear_each, kind_of, view_of
from .signature import CannotUse, check_takes_one, declared, form, interruptible

MAX_VOICES = 2000
MAX_VOICE_CHARACTERS = 200
"""The same bounds as in antiphon/heartbeat.py, which cannot be imported here."""


class Refused(Exception):
    """The request is at fault, not the engine."""

    def __init__(self, code: str, text: str, param: str) -> None:
        super().__init__(text)
        self.antiphon_code = code
        self.param = param


def adapt(target: Any, spec: str, settings: dict[str, Any]) -> Engine:
    """Give what `spec` named the one face; a class is made with `settings`. Raises CannotUse."""
    try:
        if inspect.isclass(target):
            target = target(**settings)
        if callable(getattr(target, "speak_to", None)):
            return PushEngine(target)
        if any(callable(getattr(target, method, None)) for method in ("synthesize", "synthesize_batch")):
            return ClassEngine(target)
        if callable(target):
            return FunctionEngine(target)
    except CannotUse:
        raise
    except SystemExit as exc:
        raise CannotUse(f"{spec} cannot be set up: {reason(exc)}") from exc
    except Exception as exc:
        log_all(exc)
        raise CannotUse(f"{spec} cannot be set up: {reason(exc)}") from exc
    raise CannotUse(
        f"{spec} is no engine: it is of type {type(target).__name__}, "
        "which cannot be called and has no method synthesize"
    )


class Engine:
    """What the engine process knows of an engine.

    sample_rate: of its PCM in Hz; None for one that makes whole files. voices: (id, name, language) each.
    aliases: other name of a voice -> its id. ssml: it reads SSML. words: it tells when words are heard.
    interruptible: it can stop between two pieces; None while that is not known. only_batches: it is given
    a list also of a single request. form: what was written, for people. options: that a function takes;
    None where any is given.
    """

    def __init__(self, target: Any) -> None:
        self._target = target
        self._loop: Any = None
        self.name = str(getattr(target, "name", None) or getattr(target, "__name__", type(target).__name__))
        self.sample_rate = _sample_rate(target, self.name)
        voices, aliases = (getattr(target, listed, None) or () for listed in ("voices", "aliases"))
        if isinstance(voices, str) or not hasattr(voices, "__iter__"):
            raise CannotUse(f"{self.name}: voices is {voices!r}, it must be a list")
        self.voices = [_voice(voice) for voice in islice(voices, MAX_VOICES + 1)]
        self.aliases = {str(name): str(voice) for name, voice in dict(aliases).items()}
        if max(len(self.voices), len(self.aliases)) > MAX_VOICES:
            raise CannotUse(f"{self.name}: at most {MAX_VOICES} voices, and as many aliases, can be listed")
        for text in chain(*self.voices, *self.aliases.items()):
            if text.encode(errors="replace").decode() != text:  # half a character: no message can hold it
                raise CannotUse(f"{self.name}: a voice's {text[:20]!r} is no text")
            if len(text) > MAX_VOICE_CHARACTERS:
                limit = f"{MAX_VOICE_CHARACTERS} characters"
                raise CannotUse(f"{self.name}: a voice's {text[:20]!r}... is longer than {limit}")
        self.ssml, self.words = (getattr(target, feature, False) is True for feature in ("ssml", "words"))
        if self.words and self.sample_rate is None:
            raise CannotUse(
                f"{self.name}: it has words but no sample_rate; only with samples can they be timed"
            )
        self.interruptible: bool | None = None
        self.form = "built-in engine"
        self.options: list[str] | None = None
        self.only_batches = False

    def describe(self) -> dict[str, object]:
        """Return what the node wants to know."""
        return {
            "name": self.name,
            "sample_rate": self.sample_rate,
            "voices": self.voices,
            "aliases": self.aliases,
            "ssml": self.ssml,
            "words": self.words,
            "batches": callable(getattr(self._target, "synthesize_batch", None)),
            "interruptible": self.interruptible,
            "form": self.form,
            "options": self.options,
        }

    def check_voice(self, voice: str | None) -> None:
        """Raise CannotUse if the default voice does not exist, or the one that an alias stands for."""
        for name, known in self.aliases.items():
            if not self.has_voice(known):
                raise CannotUse(f"{self.name} has no voice {known!r}, for which {name!r} is to stand")
        if voice is not None and not self.has_voice(self.aliases.get(voice, voice)):
            raise CannotUse(f"{self.name} has no voice {voice!r}, which is to be the default")

    def has_voice(self, voice: str) -> bool:
        """Return whether the engine takes `voice`; one that lists none takes any."""
        return not self.voices or any(voice == known[0] for known in self.voices)

    def use_batches(self) -> None:
        """Be given several requests at once. Raises CannotUse."""
        method = getattr(self._target, "synthesize_batch", None)
        if not callable(method):
            raise CannotUse(
                f"{self.name} has no synthesize_batch: SYNTH_PROCESSES must not be less than SYNTH_SLOTS"
            )
        check_takes_one(method, "the list of requests")
        self.interruptible = interruptible(method)
        self.only_batches = True

    def speak(self, request: SimpleNamespace, emit: Any) -> bytes | None:
        """Return the audio, or emit it piece by piece and return None."""
        self.check(request)
        return self.perform(request, emit)

    def check(self, request: SimpleNamespace) -> None:
        """Put the voice's own name in the place of an alias. Raises Refused."""
        if request.voice is not None:
            voice = self.aliases.get(request.voice, request.voice)
            if not self.has_voice(voice):
                raise Refused("unknown_voice", f"there is no voice {request.voice!r}", "voice")
            request.voice = voice

    def perform(self, request: SimpleNamespace, emit: Any) -> bytes | None:
        """Speak with a voice that exists."""
        hear = Listener(self, request, emit)
        result = self.result_of(self.call(request), emit)
        if view_of(result) is not None:
            return audio(result, self.sample_rate)
        is_iterable = hasattr(result, "__iter__") or hasattr(result, "__aiter__")
        if isinstance(result, (str, dict)) or not is_iterable:
            raise WrongType(
                f"the engine returned {kind_of(result)}; it must return bytes, "
                "an array of 16-bit integers, or an iterable of such pieces"
            )
        self.hear(result, hear, emit)
        return None

    def call(self, request: SimpleNamespace) -> Any:
        """Start the user's code."""
        return self._target.synthesize(request)

    def call_batch(self, requests: list[SimpleNamespace]) -> Any:
        """Start the user's code with several requests."""
        return self._target.synthesize_batch(requests)

    def result_of(self, result: Any, emit: Any) -> Any:
        """Return what the user's code returned, or what a coroutine returns in the end."""
        return self._run(_awaited(result), emit) if inspect.isawaitable(result) else result

    def hear(self, pieces: Any, hear: Callable[[Any], None], emit: Any) -> None:
        """Give each piece to `hear`, as it comes; the engine's generator is closed in any case."""
        if hasattr(pieces, "__aiter__"):
            self._run(hear_all(pieces, hear), emit)
        else:
            hear_each(pieces, hear)

    def close(self) -> None:
        """Let the engine tidy up."""
        close = getattr(self._target, "close", None)
        if callable(close):
            result = close()
            if inspect.isawaitable(result):
                self._run(_awaited(result), None)

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


class PushEngine(Engine):
    """An engine of ours: `speak_to(request, emit)` emits as it goes and looks after its voices itself."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.interruptible = True

    def has_voice(self, voice: str) -> bool:
        """Ask the engine."""
        return bool(self._target.has_voice(voice))

    def perform(self, request: SimpleNamespace, emit: Any) -> None:
        """Let the engine emit."""
        self._target.speak_to(request, emit)


class ClassEngine(Engine):
    """`synthesize(request)` or `synthesize_batch(requests)` of an object."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        if callable(getattr(target, "synthesize", None)):
            check_takes_one(target.synthesize, "the request")
            self.interruptible = interruptible(target.synthesize)
            self.form = f"class ({form(target.synthesize)})"
        else:
            self.use_batches()
            self.form = f"class of batches ({form(target.synthesize_batch)})"


class FunctionEngine(Engine):
    """A function of the text and of those options that it declares."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        called = target if inspect.isroutine(target) else target.__call__
        self.interruptible = interruptible(called)
        self.form = form(called)
        self._declared, self._required = declared(target, ssml=self.ssml, words=self.words)
        self.options = self._declared

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


def _sample_rate(target: Any, name: str) -> int | None:
    given = getattr(target, "sample_rate", None)
    if given is None:
        return None
    try:
        rate = operator.index(given)  # numpy's integers, too
    except TypeError:
        rate = 0
    if not 1000 <= rate <= 384_000:
        bounds = "a whole number of Hz from 1000 to 384000, such as 24000"
        raise CannotUse(f"{name}: sample_rate is {given!r}, it must be {bounds}")
    return rate


def _voice(voice: Any) -> tuple[str, str, str]:
    """Read one voice: its id; or (id, name, language); or a mapping or an object with those fields."""
    if isinstance(voice, str):
        return voice, voice, ""
    if isinstance(voice, (tuple, list)):
        fields: Iterator[Any] = iter(voice)
        return str(next(fields)), str(next(fields, "")), str(next(fields, ""))
    get = voice.get if hasattr(voice, "get") else lambda key, default: getattr(voice, key, default)
    return str(get("id", "")), str(get("name", "")), str(get("language", ""))
