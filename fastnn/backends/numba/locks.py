"""Locks between processes, so that one compiles a kernel and others wait for what it compiles.

A lock is one byte of a file in the folder of the cache, at a place that is the digest of what is
locked. The system releases it when the process ends, in whatever way. Where it has no such locks,
or the folder cannot be written, everybody gets every lock: processes that want a kernel at the same
time then compile it once each.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Whether a process can have one that others have not.
HAS_LOCKS = fcntl is not None

#: For how many seconds a process waits for another, which may have been stopped, and how often it
#: looks.
PATIENCE, PAUSE = 120.0, 0.01


class Lock:
    """What one process has at a time; it may take it again.

    Parameters
    ----------
    folder : str
    key : object
        What is locked, with the same representation in each process.
    """

    def __init__(self, folder: str, key: object) -> None:
        self._folder = folder
        # Of seven bytes: a place in a file is a number of 63 bits.
        self._place = int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=7).digest())

    def take(self) -> bool:
        """Whether no other process has it; then this one does."""
        if (file := _file(self._folder, os.getpid())) is None:
            return True
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._place)
        except (BlockingIOError, PermissionError):  # POSIX leaves open which
            return False
        except OSError:  # a file system without locks
            pass
        return True

    def wait(self) -> None:
        """Take it as soon as no other process has it, or go on without it in the end."""
        deadline = time.monotonic() + PATIENCE
        while not self.take() and time.monotonic() < deadline:
            time.sleep(PAUSE)

    def release(self) -> None:
        """Let others have it."""
        if (file := _file(self._folder, os.getpid())) is not None:
            with suppress(OSError):
                fcntl.lockf(file, fcntl.LOCK_UN, 1, self._place)

    def __enter__(self) -> Self:
        self.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.release()


@cache
def _file(folder: str, process: int) -> int | None:  # noqa: ARG001
    """The file of a folder, open as long as this process lives.

    To close it, even once more opened, would release all its locks.
    """
    if not HAS_LOCKS:
        return None
    try:
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        return os.open(os.path.join(folder, "fastnn.lock"), os.O_RDWR | os.O_CREAT, 0o600)  # noqa: PTH118
    except OSError:
        return None
