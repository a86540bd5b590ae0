"""A private directory that does not outlive its process for long. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile


class Scratch:
    """A directory that only this user can read, locked as long as this process lives.

    What processes that were killed have left under the same `prefix` is removed first.
    """

    def __init__(self, prefix: str) -> None:
        _sweep(os.path.join(tempfile.gettempdir(), prefix))
        while True:
            self._folder = tempfile.mkdtemp(prefix=prefix)
            self._fd = _locked(self._folder)
            if self._fd is not None and os.path.isdir(self._folder):
                return  # else another one has just swept it away

    def path(self, name: str) -> str:
        """Return the path of a file in it."""
        return os.path.join(self._folder, name)

    def clear(self) -> None:
        """Remove what is in it."""
        for name in os.listdir(self._folder):
            path = self.path(name)
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._fd is not None:
            os.close(self._fd)


def _sweep(beginning: str) -> None:
    for folder in glob.glob(f"{glob.escape(beginning)}*"):
        fd = _locked(folder)
        if fd is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(fd)


def _locked(folder: str) -> int | None:
    """Lock a directory; return what holds the lock, None if that cannot be had."""
    with contextlib.suppress(OSError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd
    return None
