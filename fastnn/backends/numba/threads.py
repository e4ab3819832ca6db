"""A pool of worker threads for compiled code that releases the interpreter lock.

Numba has threads of its own, started by ``parallel=True``. They are quicker to start than these,
and not used here: on a machine that does anything else, each parallel region waits until all of its
threads have been scheduled; a forked child of a process that has used them (under GNU OpenMP), or
two Python threads at a time (under ``workqueue``), end the process; and each function is compiled
twice.

Here a kernel is compiled to be called by any number of threads at the same time: each call takes
parts of the work until there are none left (:mod:`fastnn.backends.numba.kernels.atomics`). The
thread that wants the work done calls it, and puts the same call into a queue for the workers. Its
own call, number 0, returns when all parts are done; those of the workers before, so that they do
not ask for the interpreter lock at the same time. A worker that comes late finds less to do, or
nothing; nobody waits for a thread that has not started.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeVar
from weakref import WeakSet

#: Called with the number of a thread.
Task = Callable[[int], object]
Item = TypeVar("Item")
Result = TypeVar("Result")

#: The number of the processor that the calling thread runs on; None where the system does not say,
#: or does not let us choose.
_processor = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
)


class _Inside(threading.local):
    """Whether the thread works for `map`: there is nobody to help it then."""

    map = False


class WorkerPool:
    """Worker threads that any number of other threads may use at the same time.

    Parameters
    ----------
    size : int
        How many threads work on one task at most, the caller included. Workers are started when
        there is a task for them, and end with the pool.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._affinity_refused = False
        self._inside = _Inside()
        self._start_empty()
        _pools.add(self)

    def _start_empty(self) -> None:
        self._queue: SimpleQueue[tuple[Task, int] | None] = SimpleQueue()
        self._workers: list[int] = []  # the system's numbers of the threads
        self._kept_free: int | None = None  # the processor that the workers are not to run on
        self._lock = threading.Lock()  # of whoever starts workers

    def __del__(self) -> None:
        for _ in self._workers:
            self._queue.put(None)

    def run(self, task: Callable[[int], Result], threads: int) -> Result:
        """Call `task` with 0 on this thread, and with 1, 2, … on up to `threads` − 1 workers.

        All is done when the call on this thread returns: its result is returned, and its exception
        raised.
        """
        wanted = 0 if self._inside.map else min(threads, self.size) - 1
        if len(self._workers) < wanted:
            self._start_workers(wanted)
        calls = min(wanted, len(self._workers))
        if calls < 1:
            return task(0)
        self._keep_processor_free()
        for number in range(1, calls + 1):
            self._queue.put((task, number))
        try:
            return task(0)
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
        if len(items) < 2:
            return [function(item) for item in items]
        results: dict[int, Result] = {}
        errors: dict[int, BaseException] = {}
        numbers, done = iter(range(len(items))), threading.Semaphore(0)

        def work(_: int) -> None:
            before, self._inside.map = self._inside.map, True
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
                self._inside.map = before

        try:
            self.run(work, len(items))
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
            while len(self._workers) < count:
                worker = threading.Thread(
                    target=_work, args=(self._queue,), name="fastnn-worker", daemon=True
                )
                try:
                    worker.start()
                except RuntimeError:  # the system gives no more threads: go on with those there are
                    return
                self._workers.append(worker.native_id or 0)
                self._kept_free = None

    def _keep_processor_free(self) -> None:
        """Keep the workers off the processor of the calling thread.

        Linux may wake a worker on the processor of the thread that queues a task, when the others
        were busy a moment ago, and takes some milliseconds to part the two: meanwhile the work
        takes longer than one thread would.
        """
        if _processor is None or self._affinity_refused:
            return
        if (here := _processor()) == self._kept_free:
            return
        self._kept_free = here
        try:
            others = os.sched_getaffinity(0) - {here}
            for worker in self._workers if others else ():
                with suppress(ProcessLookupError):  # that thread has ended
                    os.sched_setaffinity(worker, others)
        except OSError:  # a container may forbid it
            self._affinity_refused = True


def _work(queue: SimpleQueue[tuple[Task, int] | None]) -> None:
    while call := queue.get():
        task, number = call
        with suppress(Exception):  # the caller's own call raises it, too
            task(number)
        del call, task  # what it holds may be large, and the next one may come late


_pools: WeakSet[WorkerPool] = WeakSet()


def _forget_workers() -> None:
    """In a forked child: the workers stayed behind, and another thread may have held the lock."""
    for pool in list(_pools):
        pool._start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
