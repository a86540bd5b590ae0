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
        self._prefix = prefix
        self._fd: int | None = None
        _sweep(os.path.join(tempfile.gettempdir(), prefix))
        self._make()

    def path(self, name: str) -> str:
        """Return the path of a file that is not there yet.

        Raises:
            OSError: the directory was taken away, or could not be cleared, and there can be no other.
        """
        if not self._is_ours() or os.listdir(self._folder):
            self.close()
            self._make()
        return os.path.join(self._folder, name)

    def clear(self) -> None:
        """Remove what is in it, as far as that can be done."""
        if not self._is_ours():
            return
        with contextlib.suppress(OSError):
            for entry in list(os.scandir(self._folder)):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)

    def close(self) -> None:
        """Remove it."""
        if self._is_ours():
            shutil.rmtree(self._folder, ignore_errors=True)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _make(self) -> None:
        while not self._is_ours():  # another one may have swept it away at once
            self._folder = tempfile.mkdtemp(prefix=self._prefix)
            self._fd = _locked(self._folder)

    def _is_ours(self) -> bool:
        """Tell whether it is still there: somebody may tidy up, or the program."""
        if self._fd is None:
            return False
        try:
            return os.path.samestat(os.lstat(self._folder), os.fstat(self._fd))
        except FileNotFoundError:
            return False


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
