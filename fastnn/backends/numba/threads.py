"""A pool of threads for compiled code that releases the interpreter lock, and for functions.

Numba has threads of its own, started by ``parallel=True``. They are not used here: on a machine
that does anything else, each parallel region waits until all of its threads have been scheduled; a
forked child of a process that has used them (under GNU OpenMP), or two Python threads at a time
(under ``workqueue``), end the process; and each function is compiled twice.

Here a kernel is compiled to be executed by any number of threads at the same time: each takes parts
of the work until there are none left (:mod:`fastnn.backends.numba.kernels.atomics`). The thread
that wants the work done does it, too, and returns when all parts are done. A thread that comes late
finds less to do, or nothing; nobody waits for one that has not started. The others are helpers
(:mod:`.helpers`), which need no interpreter; functions of Python's have workers of their own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from weakref import WeakSet

from .affinity import KeptOff
from .helpers import Helpers

Task = Callable[[], object]
Item = TypeVar("Item")
Result = TypeVar("Result")


class _Inside(threading.local):
    """Whether the thread works for `map`: there is nobody to help it then."""

    map = False


class WorkerPool:
    """Threads that any number of other threads may use at the same time.

    Parameters
    ----------
    size : int
        How many threads work on one task at most, the caller included. The others are started when
        there is a task for them, and end with the pool.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._inside = _Inside()
        self._start_empty()
        _pools.add(self)

    def _start_empty(self) -> None:
        self._helpers = Helpers(self.size - 1)
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._workers = KeptOff()
        self._lock = threading.Lock()  # of whoever starts workers

    def __del__(self) -> None:
        for _ in self._workers.threads:
            self._queue.put(None)

    def run(self, kernel: Any, arguments: tuple[Any, ...], threads: int) -> None:
        """Call a kernel that threads share (`kernels.helpers.shared`), with up to so many of them.

        All is done when it returns.
        """
        wanted = 0 if self._inside.map else threads - 1
        kernel(self._helpers.seats(wanted), arguments)

    def _together(self, task: Task, threads: int) -> None:
        """Call `task` on this thread, and on up to `threads` − 1 workers.

        All is done when the call on this thread returns; its exception is raised.
        """
        wanted = min(threads, self.size) - 1
        if len(self._workers.threads) < wanted:
            self._start_workers(wanted)
        calls = min(wanted, len(self._workers.threads))
        self._workers.keep_off()
        for _ in range(calls):
            self._queue.put(task)
        try:
            task()
        finally:
            # What no worker has taken would keep the task's data in memory. It may be from another
            # caller, who then goes on alone.
            with suppress(Empty):
                for _ in range(calls):
                    self._queue.get_nowait()

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """`function` of each item, in order, by as many threads as there are.

        An error ends it, and is raised; of several, that of the first item that has one.
        """
        if len(items) < 2 or self._inside.map:
            return [function(item) for item in items]
        results: dict[int, Result] = {}
        errors: dict[int, BaseException] = {}
        numbers, done = iter(range(len(items))), threading.Semaphore(0)

        def work() -> None:
            self._inside.map = True
            try:
                for number in numbers:  # each thread gets others
                    try:
                        if number < min(errors, default=len(items)):
                            results[number] = function(items[number])
                    except BaseException as error:
                        errors[number] = error
                    finally:
                        done.release()
            finally:
                self._inside.map = False

        try:
            self._together(work, len(items))
            for _ in items:
                done.acquire()
        finally:
            for _ in numbers:  # whatever has ended it: there is nothing left for the workers
                pass
        if errors:
            raise errors[min(errors)]
        return [results[number] for number in range(len(items))]

    def _start_workers(self, count: int) -> None:
        with self._lock:
            while len(self._workers.threads) < count:
                if not self._workers.start("fastnn-worker", _work, self._queue):
                    return  # go on with those there are


def _work(queue: SimpleQueue[Task | None]) -> None:
    while task := queue.get():
        with suppress(Exception):  # the caller's own call raises it, too
            task()
        del task  # what it holds may be large, and the next one may come late


_pools: WeakSet[WorkerPool] = WeakSet()


def _forget_workers() -> None:
    """In a forked child: the workers stayed behind, and another thread may have held the lock."""
    for pool in list(_pools):
        pool._helpers.forget()
        pool._start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
