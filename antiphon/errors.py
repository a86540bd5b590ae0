"""Failures that cross the boundary between caller and node, each with a stable code."""

from __future__ import annotations

from typing import ClassVar


class SpeechError(Exception):
    """Base of every failure that a caller may see; `code` is stable, the text is for people.

    param: the field of the request that is at fault, where there is one.
    retry_after_s: forecast in seconds of when a retry can succeed; None when nothing is known.
    """

    code: ClassVar[str] = "internal"
    number: ClassVar[int] = 500
    """The HTTP status that says the same; also for the header Nats-Service-Error-Code."""
    retryable: ClassVar[bool] = False
    _by_code: ClassVar[dict[str, type[SpeechError]]] = {}

    def __init__(
        self, text: str = "", *, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(text)
        self.param = param
        self.retry_after_s = retry_after_s

    def __init_subclass__(cls) -> None:
        if cls.code in SpeechError._by_code or cls.code == SpeechError.code:
            raise TypeError(f"error code {cls.code!r} is taken")
        SpeechError._by_code[cls.code] = cls

    @classmethod
    def from_code(cls, code: str, text: str, *, param: str | None = None) -> SpeechError:
        """Rebuild the failure that `code` names; a code of a newer version becomes a plain SpeechError."""
        return cls._by_code.get(code, SpeechError)(text, param=param)

    @classmethod
    def codes(cls) -> dict[str, type[SpeechError]]:
        """Return every code with its type."""
        return {SpeechError.code: SpeechError, **cls._by_code}


# The request is at fault: sending it again changes nothing.


class InvalidRequest(SpeechError):
    """The request is no request: malformed bytes, or a field with a value that is not allowed."""

    code = "invalid_request"
    number = 400


class UnknownVoice(SpeechError):
    """The model has no such voice."""

    code = "unknown_voice"
    number = 400


class AmbiguousModel(SpeechError):
    """Several models could be meant, and the request names none of them."""

    code = "ambiguous_model"
    number = 400


class UnsupportedFormat(SpeechError):
    """This version, or this engine, cannot make the asked audio format."""

    code = "unsupported_format"
    number = 400


class TextTooLong(SpeechError):
    """The text has more characters than the limit."""

    code = "text_too_long"
    number = 400


class NothingToSpeak(SpeechError):
    """The text is empty, or the engine made no sound of it."""

    code = "nothing_to_speak"
    number = 400


class AudioTooLarge(SpeechError):
    """The audio passes a limit; for a plain reply, ask for the stream instead."""

    code = "audio_too_large"
    number = 400


# The group cannot take the request now: a later try can succeed.


class AllSlotsBusy(SpeechError):
    """No slot became free within the caller's wait."""

    code = "all_slots_busy"
    number = 503
    retryable = True


class QueueFull(SpeechError):
    """The caller's own queue has no room for one more request."""

    code = "queue_full"
    number = 503
    retryable = True


class NoNodes(SpeechError):
    """No node of that model is alive."""

    code = "no_nodes"
    number = 503
    retryable = True


class Draining(SpeechError):
    """The node is leaving, or pauses, and takes nothing new: a run that ends with it killed nothing."""

    code = "draining"
    number = 503
    retryable = True


class NotConnected(SpeechError):
    """There is no connection to NATS."""

    code = "not_connected"
    number = 503
    retryable = True


# The run failed.


class EngineFailed(SpeechError):
    """The engine refused this text with an error of its own; another node would do the same."""

    code = "engine_failed"


class EngineCrashed(SpeechError):
    """The engine's process died, hung past its bound, or wrote nonsense; another slot may do better."""

    code = "engine_crashed"
    number = 502
    retryable = True


class BadAudio(SpeechError):
    """The engine's bytes are no audio."""

    code = "bad_audio"


class RunLost(SpeechError):
    """The node in charge died, froze or lost its connection; or a part of the stream is missing."""

    code = "run_lost"
    number = 502
    retryable = True


class AttemptsExhausted(SpeechError):
    """Every accepted run was lost to a dead node or engine: the request itself may be the cause."""

    code = "attempts_exhausted"


class DeadlineExceeded(SpeechError):
    """The caller's budget ended before the audio was complete."""

    code = "deadline_exceeded"
    number = 504


class Cancelled(SpeechError):
    """The caller cancelled the run."""

    code = "cancelled"
    number = 500


class MalformedMessage(Exception):
    """Bytes that are no message of this protocol."""
