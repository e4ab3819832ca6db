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

from .affinity import KeptOff

#: Locks of the interpreter's, on every system, and what compiled code can do with them: neither
#: taking one nor letting it go needs the interpreter.
_allocate = ctypes.PYFUNCTYPE(ctypes.c_void_p)(("PyThread_allocate_lock", ctypes.pythonapi))
_free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyThread_free_lock", ctypes.pythonapi))
_take = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)(
    ("PyThread_acquire_lock", ctypes.pythonapi)
)
_let_go = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyThread_release_lock", ctypes.pythonapi))


class Helpers:
    """So many threads at most, which are started when they are wanted, and end with this."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._seats: np.ndarray | None = None
        self._threads = KeptOff()
        self._lock = threading.Lock()  # of whoever starts them

    def __del__(self, ends: Callable[[], bool] = sys.is_finalizing) -> None:
        if self._seats is None or ends():  # with the process so do they
            return
        from .kernels.helpers import LEAVES, LOCK, STATE

        for seat in self._seats[: len(self._threads.threads)]:
            seat[STATE] = LEAVES
            _let_go(int(seat[LOCK]))

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

        with self._lock:
            if self._seats is None:
                self._seats = np.zeros((self._most, SEAT), np.int64)
            while (number := len(self._threads.threads)) < count:
                seat, lock = self._seats[number], _allocate()
                _take(lock, 0)
                seat[LOCK], seat[TAKE], seat[LET_GO] = lock, _address(_take), _address(_let_go)
                thread = threading.Thread(
                    target=_serve, args=(ready(), seat, lock), name="fastnn-helper", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the system gives no more threads: go on with those there are
                    _free(lock)
                    return
                self._threads.add(thread.native_id)


def _address(function: Any) -> int:
    """The address of a function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _serve(serve: Any, seat: np.ndarray, lock: int) -> None:
    serve(seat)
    _free(lock)
