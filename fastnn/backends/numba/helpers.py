"""Threads that help with kernels: how they are started, and how they end (:mod:`.kernels.helpers`).

A thread of Python's would want the interpreter lock when it wakes, which the thread that has woken
it still has: both would wait for each other.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import HostMemoryError
from .affinity import KeptOff

#: Locks of the interpreter's, on every system, and what compiled code can do with them: neither
#: taking one nor letting it go needs the interpreter.
_allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThread_allocate_lock", ctypes.pythonapi))
_free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyThread_free_lock", ctypes.pythonapi))
_take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(
    ("PyThread_acquire_lock", ctypes.pythonapi)
)
_let_go = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyThread_release_lock", ctypes.pythonapi))


class _Lock:
    """A lock, which is taken; freed when nobody has it any more."""

    def __init__(self) -> None:
        self.address = _allocate() or 0
        if not self.address:
            raise HostMemoryError("there is no memory for a lock; close other programs")
        _take(self.address, 0)

    def __del__(self, free: Callable[[int], None] = _free) -> None:
        if self.address:
            free(self.address)


class Helpers:
    """So many threads at most, which are started when they are wanted, and end with this."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seats: np.ndarray | None = None
        self._locks: list[_Lock] = []
        self._threads = KeptOff()
        self._starting = threading.Lock()

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if self._seats is None or ends():  # with the process so do they
            return
        from .kernels.helpers import LEAVES, STATE

        for seat, lock in zip(self._seats, self._locks, strict=False):
            seat[STATE] = LEAVES
            _let_go(lock.address)

    def forget(self) -> None:
        """In a forked child: they stayed behind, and their locks as they were."""
        self._seats = None

    def seats(self, wanted: int) -> np.ndarray:
        """The seats of so many, or as many as there are, for a kernel that is called at once."""
        wanted = min(wanted, self._most)
        if self._seats is None or len(self._threads.threads) < wanted:
            self._start(wanted)
        if wanted > 0:
            self._threads.keep_off()
        assert self._seats is not None
        return self._seats[: min(wanted, len(self._threads.threads))]

    def _start(self, count: int) -> None:
        from .kernels.helpers import LET_GO, LOCK, SEAT, TAKE, ready

        with self._starting:
            if self._seats is None:
                self._seats = np.zeros((self._most, SEAT), np.int64)
            while (number := len(self._threads.threads)) < count:
                serve = ready()
                if number == len(self._locks):
                    self._locks.append(_Lock())
                seat, lock = self._seats[number], self._locks[number]
                seat[LOCK] = lock.address
                seat[TAKE], seat[LET_GO] = _address(_take), _address(_let_go)
                if not self._threads.start("fastnn-helper", _serve, serve, seat, lock):
                    return  # go on with those there are


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _serve(serve: Any, seat: np.ndarray, _lock: _Lock) -> None:
    serve(seat)
