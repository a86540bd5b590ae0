"""An engine's process: requests in, audio out. Standard library only, Python 3.8 or newer.

It is run by path, `python child.py '{"fd": 5, "spec": "module:attribute", ...}'`, so that an engine
can live in an environment that has none of Antiphon's packages. A frame is a header (HEADER) and its payload:

    to the engine    S  speak   JSON {text, voice, speed, format, sample_rate, input_type, timestamps}
                     M  many    JSON [[number, the same], ...]: a batch of utterances, itself with a number
                     C  cancel  the utterance, or the batch, with that number
                     Q  quit
    from the engine  R  ready   JSON {name, sample_rate, voices, aliases, ssml, words, batches, interruptible,
                                form, options}
                     X  the engine cannot be started: a sentence
                     B  begin   BEGIN: sample rate of the PCM in Hz, 0 for a file; 1 if it comes in pieces
                     W  words   JSON [[offset, length, start, end], ...]: characters of the text, samples of
                                the utterance's PCM; before the audio in which they are heard, in its order
                     A  audio   bytes
                     E  error   JSON {code, text, param}
                     Z  end

Each S is answered with exactly one E or Z, each M with one for each of its utterances.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import socket
import struct
import sys
import traceback
from types import SimpleNamespace
from typing import Any, NoReturn

HEADER = struct.Struct(">BBII")  # MAGIC, kind, number of the utterance, length of the payload
MAGIC = 0xA7
BEGIN = struct.Struct(">IB")
MAX_AUDIO_BYTES = 256 * 1024  # of one frame
NICENESS = 5  # the node answers promptly also while its engines compute
PACKAGE = "_antiphon_engines"


class Cancelled(BaseException):
    """The caller wants no more of the running utterance."""


class Inbox:
    """What the node sends, frame by frame; only the main thread reads it."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._bytes = bytearray()
        self._cancelled: set[int] = set()

    def next(self) -> tuple[int, int, bytes]:
        """Wait for one frame; return kind, utterance and payload."""
        self._cancelled.clear()  # of what is over
        while True:
            frame = self._take()
            if frame is not None:
                return frame
            self._receive(0)

    def cancels(self, number: int) -> bool:
        """Return at once whether a cancel of that utterance or batch has come."""
        with contextlib.suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)
        while len(self._bytes) >= HEADER.size and self._bytes[1] == ord("C"):
            _, cancelled, _ = self._take() or (0, 0, b"")
            self._cancelled.add(cancelled)
        return number in self._cancelled

    def _receive(self, flags: int) -> None:
        data = self._sock.recv(65536, flags)
        if not data:
            ours("session").die()
        self._bytes += data

    def _take(self) -> tuple[int, int, bytes] | None:
        if len(self._bytes) < HEADER.size:
            return None
        _, kind, utterance, length = HEADER.unpack_from(self._bytes)
        if len(self._bytes) < HEADER.size + length:
            return None
        payload = bytes(self._bytes[HEADER.size : HEADER.size + length])
        del self._bytes[: HEADER.size + length]
        return kind, utterance, payload


class Emit:
    """Takes the pieces of one utterance from the engine; raises Cancelled when no more are wanted.

    Of a batch as a whole it only tells whether that is wanted.
    """

    def __init__(self, sock: socket.socket, inbox: Inbox, utterance: int, sample_rate: int) -> None:
        self._sock = sock
        self._inbox = inbox
        self._utterance = utterance
        self._sample_rate = sample_rate
        self._unsent = self._begin(streamed=True)
        self._words: list[tuple[int, int, int, int]] = []

    def __call__(self, piece: bytes) -> None:
        """Send a piece as it comes; blocks while the node has enough."""
        if self.cancelled():
            raise Cancelled
        self.send(piece)

    def send(self, piece: bytes) -> None:
        """Send a piece, wanted or not."""
        if piece:
            if self._words:
                self._unsent += json_frame("W", self._utterance, self._words)
                self._words = []
            self._sock.sendall(self._unsent + self._audio(piece))
            self._unsent = b""

    def word(self, offset: int, length: int, start: int, end: int) -> None:
        """Tell when a word is heard, with the next piece: characters of the text, samples of the PCM."""
        self._words.append((offset, length, start, end))

    def cancelled(self) -> bool:
        """Return whether the caller has left."""
        return self._inbox.cancels(self._utterance)

    def cancel(self) -> NoReturn:
        """Leave the utterance."""
        raise Cancelled

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when the caller leaves."""
        return self._sock.fileno()

    def end(self, whole: bytes | None) -> None:
        """End the utterance; `whole` is all of its audio, for an engine that emitted none."""
        end = frame("Z", self._utterance)
        if not whole:
            self._sock.sendall(end)
        elif len(whole) <= MAX_AUDIO_BYTES:  # one system call for the usual case
            self._sock.sendall(self._begin(streamed=False) + self._audio(whole) + end)
        else:
            self._sock.sendall(self._begin(streamed=False))
            self._sock.sendall(self._audio(whole))
            self._sock.sendall(end)

    def fail(self, exc: BaseException) -> None:
        """End the utterance with an error."""
        failure = ours("failure").failure(exc)
        self._sock.sendall(json_frame("E", self._utterance, failure))

    def _begin(self, *, streamed: bool) -> bytes:
        return frame("B", self._utterance, BEGIN.pack(self._sample_rate, streamed))

    def _audio(self, piece: bytes) -> bytes:
        if len(piece) <= MAX_AUDIO_BYTES:
            return frame("A", self._utterance, piece)
        starts = range(0, len(piece), MAX_AUDIO_BYTES)
        return b"".join(frame("A", self._utterance, piece[i : i + MAX_AUDIO_BYTES]) for i in starts)


def frame(kind: str, utterance: int, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return HEADER.pack(MAGIC, ord(kind), utterance, len(payload)) + payload


def json_frame(kind: str, utterance: int, value: object) -> bytes:
    """Return one frame whose payload is JSON."""
    return frame(kind, utterance, json.dumps(value).encode())


def serve(sock: socket.socket, engine: Any) -> None:
    """Speak one utterance after another until the node says quit."""
    inbox = Inbox(sock)
    rate = engine.sample_rate or 0
    while True:
        kind, number, payload = inbox.next()
        if kind == ord("Q"):
            return
        emit = Emit(sock, inbox, number, rate)
        if kind == ord("M"):
            requests = [
                (SimpleNamespace(**each), Emit(sock, inbox, n, rate)) for n, each in json.loads(payload)
            ]
            speak_batch(engine, requests, emit)
        elif kind == ord("S"):
            speak(engine, SimpleNamespace(**json.loads(payload)), emit)


def speak(engine: Any, request: SimpleNamespace, emit: Emit) -> None:
    """Speak one utterance."""
    if engine.only_batches:
        speak_batch(engine, [(request, emit)], emit)
        return
    try:
        emit.end(engine.speak(request, emit))
    except Cancelled:
        emit.end(None)
    except MemoryError:
        raise  # a process that ran out of memory is better started afresh
    except (Exception, KeyboardInterrupt) as exc:  # the engine's own: nobody's Ctrl-C gets here
        emit.fail(exc)


def speak_batch(engine: Any, requests: list[tuple[SimpleNamespace, Emit]], emit: Emit) -> None:
    """Speak several utterances at once."""
    batch = ours("batch").Batch(engine, requests, emit)
    try:
        batch.speak()
    except Cancelled:
        batch.end()


def ours(module: str) -> Any:
    """Import a module of `engines` by its file: our packages are not on the engine's path."""
    if PACKAGE not in sys.modules:
        folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "engines")
        file = os.path.join(folder, "__init__.py")
        spec = importlib.util.spec_from_file_location(PACKAGE, file, submodule_search_locations=[folder])
        assert spec is not None
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{PACKAGE}.{module}")


def main(options: dict[str, Any]) -> None:
    """Load the engine, report, serve."""
    sock = socket.socket(fileno=options["fd"])
    sock.set_inheritable(False)
    os.register_at_fork(after_in_child=sock.close)  # held by a helper, it would hide our death from the node
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's business: it drains
    ours("session").die_with(options["parent"], sock)
    os.nice(NICENESS)
    # The modules of the user stand where those of this package would shadow them.
    sys.path[0] = os.getcwd()
    ours("printing").print_at_once()
    finder, user = ours("find"), ours("user")
    built_in = options.get("built_in")
    spec = f"{PACKAGE}.{built_in}" if built_in else options["spec"]
    try:
        engine = user.adapt(finder.find(spec), options["spec"], options.get("settings") or {})
        engine.check_voice(options.get("voice"))
        if options.get("batches"):
            engine.use_batches()
        if options.get("warm_up"):
            ours("warm_up").warm_up(engine, options["warm_up"], options.get("voice"), sock.fileno())
    except (finder.NotFound, user.CannotUse) as exc:
        sock.sendall(frame("X", 0, str(exc).encode(errors="replace")))
        return
    sock.sendall(json_frame("R", 0, engine.describe()))
    serve(sock, engine)
    engine.close()


if __name__ == "__main__":
    try:
        main(json.loads(sys.argv.pop()))  # a module that reads the command line finds an empty one
        status = 0
    except SystemExit as exc:
        status = exc.code if isinstance(exc.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # threads of the engine must not keep the process alive
