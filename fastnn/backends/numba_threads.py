"""When compiled code may run on several threads, and on how many.

Numba's threads are fast but not forgiving: under its ``workqueue`` layer two Python threads that start parallel code at the same
time end the process, and so does, under GNU OpenMP, a forked child of a process that has run any. So parallel code is run by one
Python thread at a time, and never in a forked child whose parent has run some; everybody else runs the same code serially.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numba

_lock = threading.Lock()
_used = False  # by this process, or by one that it was forked from
_forked = False  # since then


def _after_fork() -> None:
    global _lock, _forked
    _lock = threading.Lock()  # a thread of the parent may have held it
    _forked = _forked or _used


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def team(useful: int) -> Iterator[int]:
    """How many threads to use for work that could keep `useful` of them busy; 1 means to run the serial code.

    At most as many as ``numba.set_num_threads`` or ``NUMBA_NUM_THREADS`` allow.
    """
    global _used
    threads = min(useful, numba.get_num_threads())
    if threads <= 1 or _forked or not _lock.acquire(blocking=False):
        yield 1
        return
    try:
        _used = True
        yield threads
    finally:
        _lock.release()
