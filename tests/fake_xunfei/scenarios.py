"""What the server does on purpose, by name."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Scenario(Enum):
    """How one connection goes; the value says it for people."""

    FINE = "as it should be"
    REFUSAL = "the handshake is refused, with one of the named refusals"
    ERROR = "an error frame with a code, instead of any audio"
    NULL_DATA = "a frame whose data is null comes first"
    NO_DATA = "a frame without data comes first; of the super-human API one without payload"
    ONE_FRAME = "all of the audio in one frame with status 2"
    EMPTY_LAST = "the last frame has no audio in it"
    ODD_PIECES = "the audio is cut at odd bytes"
    CONTINUED = "each frame is split over several WebSocket frames"
    BIG_FRAME = "the first frame is larger than a mebibyte"
    SID_ONCE = "the session's name is in the first frame only"
    UNKNOWN_FIELDS = "frames have fields that nobody has heard of"
    BINARY = "audio comes in binary frames, and JSON for the status only"
    OUT_OF_ORDER = "neighbouring frames change places, where they are numbered: not of online TTS"
    GARBAGE = "something comes that is no JSON"
    NOT_AN_OBJECT = "JSON comes that is no object"
    BAD_BASE64 = "audio comes that is no base64"
    NO_AUDIO = "a frame with status 2 and no audio in it is all"
    EARLY_CLOSE = "closed with 1000 after some audio, before status 2"
    CLOSE_AT_ONCE = "closed with 1000 before any frame, with the reason `time out`"
    ABORT = "the connection ends after some audio without a close frame, before status 2"
    ABORT_AT_ONCE = "the connection ends without a close frame, before any frame"
    HANG = "nothing comes after the request"
    HANG_LATER = "nothing comes after some audio"
    ERROR_LATER = "an error frame with a code after some audio"
    STAY_OPEN = "the server answers no close frame"


@dataclass(frozen=True, slots=True)
class Plan:
    """A scenario with what it needs. code: of its error. refusal: a name in handshake.REFUSALS."""

    scenario: Scenario = Scenario.FINE
    code: int = 10010
    refusal: str = "503"
