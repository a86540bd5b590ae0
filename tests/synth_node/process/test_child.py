"""The engine process, spoken to over its socket as the node does."""

from __future__ import annotations

import ast
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import synth_node.process.child as child

PACKAGE = Path(child.__file__).parents[1]
ENGINES = Path(__file__).parents[2] / "engines"
GUARD_S = 20.0
REQUEST = {
    "text": "fine",
    "voice": None,
    "speed": 1.0,
    "format": "mp3",
    "sample_rate": None,
    "input_type": "text",
    "timestamps": False,
}


@contextmanager
def engine(spec: str) -> Iterator[tuple[socket.socket, subprocess.Popen[bytes]]]:
    """Run an engine process; give our end of its socket."""
    ours, theirs = socket.socketpair()
    options = json.dumps({"fd": theirs.fileno(), "spec": spec, "voice": None, "parent": os.getpid()})
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, child.__file__, options],
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdout=subprocess.DEVNULL,
            )
        ours.settimeout(GUARD_S)
        try:
            yield ours, process
        finally:
            process.kill()
            process.wait(GUARD_S)


def receive(sock: socket.socket, last: str) -> list[tuple[str, int, bytes]]:
    """Read frames up to one of the kind `last`."""
    data = b""
    frames: list[tuple[str, int, bytes]] = []
    while not frames or frames[-1][0] != last:
        more = sock.recv(65536)
        assert more
        data += more
        while len(data) >= child.HEADER.size:
            magic, kind, utterance, length = child.HEADER.unpack_from(data)
            assert magic == child.MAGIC
            if len(data) < child.HEADER.size + length:
                break
            frames.append((chr(kind), utterance, data[child.HEADER.size : child.HEADER.size + length]))
            data = data[child.HEADER.size + length :]
    assert data == b""
    return frames


@pytest.mark.parametrize(
    "file",
    [
        "process/child.py",
        *(
            f"engines/{name}.py"
            for name in (
                "find",
                "user",
                "signature",
                "session",
                "tone",
                "pieces",
                "batch",
                "failure",
                "warm_up",
                "piper",
                "printing",
            )
        ),
    ],
)
def test_only_the_standard_library_is_used(file: str) -> None:
    tree = ast.parse((PACKAGE / file).read_text(), feature_version=(3, 8))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module).partition(".")[0])
    assert names <= sys.stdlib_module_names


def test_a_ready_file_is_one_message() -> None:
    with engine(f"{ENGINES / 'faults.py'}:misbehave") as (sock, _):
        (ready,) = receive(sock, "R")
        assert json.loads(ready[2]) == {
            "name": "misbehave",
            "sample_rate": 8000,
            "voices": [],
            "aliases": {},
            "ssml": False,
            "words": False,
            "interruptible": None,
            "form": "function",
            "options": [],
            "batches": False,
        }
        sock.sendall(child.json_frame("S", 7, REQUEST))
        whole = sock.recv(1 << 20)
        begin, audio = child.frame("B", 7, child.BEGIN.pack(8000, 0)), child.frame("A", 7, bytes(16_000))
        assert whole == begin + audio + child.frame("Z", 7)


def test_every_request_is_answered_once_also_when_it_is_cancelled() -> None:
    with engine(f"{ENGINES / 'faults.py'}:misbehave") as (sock, process):
        receive(sock, "R")
        sock.sendall(child.json_frame("S", 1, {**REQUEST, "text": "stream 0.01"}))
        sock.sendall(child.frame("C", 1))
        assert receive(sock, "Z")[-1][:2] == ("Z", 1)
        sock.sendall(child.frame("C", 1))  # late: nothing runs
        sock.sendall(child.json_frame("S", 2, {**REQUEST, "text": "raise no"}))
        (error,) = receive(sock, "E")
        assert error[1] == 2
        assert json.loads(error[2]) == {"code": "engine_failed", "text": "ValueError: no", "param": None}
        sock.sendall(child.json_frame("S", 3, REQUEST) + child.frame("Q", 0))
        assert [frame[:2] for frame in receive(sock, "Z")] == [("B", 3), ("A", 3), ("Z", 3)]
        assert process.wait(GUARD_S) == 0


@pytest.mark.parametrize("text", ["fine", "hang"])
def test_the_process_ends_when_its_socket_does(text: str) -> None:
    with engine(f"{ENGINES / 'faults.py'}:misbehave") as (sock, process):
        receive(sock, "R")
        sock.sendall(child.json_frame("S", 1, {**REQUEST, "text": text}))
        if text == "fine":
            receive(sock, "Z")
        sock.shutdown(socket.SHUT_RDWR)
        assert process.wait(GUARD_S) == -9


def test_long_audio_comes_in_bounded_frames() -> None:
    with engine(f"{ENGINES / 'faults.py'}:misbehave") as (sock, _):
        receive(sock, "R")
        sock.sendall(child.json_frame("S", 1, {**REQUEST, "text": "return bytes(1_000_000)"}))
        sizes = [len(payload) for kind, _, payload in receive(sock, "Z") if kind == "A"]
        assert sum(sizes) == 1_000_000
        assert max(sizes) <= child.MAX_AUDIO_BYTES


def test_words_come_before_the_audio_in_which_they_are_heard() -> None:
    with engine(f"{PACKAGE / 'engines/tone.py'}:Engine") as (sock, _):
        receive(sock, "R")
        text = " ein\t😀e\u0301 " + "x" * 30 + "\nEnde"
        sock.sendall(child.json_frame("S", 1, {**REQUEST, "text": text, "timestamps": True}))
        words: list[list[int]] = []
        heard = 0
        for kind, _, payload in receive(sock, "Z"):
            if kind == "A":
                heard += len(payload) // 2
                assert all(start < heard for _, _, start, _ in words)
            elif kind == "W":
                words += json.loads(payload)
                assert all(start >= heard for _, _, start, _ in json.loads(payload))
        assert [text[offset : offset + length] for offset, length, _, _ in words] == text.split()
        assert words[0] == [1, 3, 1323, 4 * 1323]
        assert words[-1] == [len(text) - 4, 4, (len(text) - 4) * 1323, heard]
        assert heard == len(text) * 1323
        sock.sendall(child.json_frame("S", 2, {**REQUEST, "text": text}))
        assert {kind for kind, _, _ in receive(sock, "Z")} == {"B", "A", "Z"}, "not asked for, not told"
