"""Threads that help with compiled code which releases the interpreter lock.

Numba has threads of its own, started by ``parallel=True``. They are quicker to start than these, and not used here: on a machine
that does anything else, each parallel region waits until all of its threads have been scheduled; a forked child of a process that
has used them (under GNU OpenMP), or two Python threads at a time (under ``workqueue``), end the process; and each function is
compiled twice.

Here a function is compiled to be called by any number of threads at the same time: each call takes parts of the work until there
are none left, and returns when all are done (:mod:`fastnn.backends.numba.kernels.atomics`). The thread that wants the work
done calls it,
and invites workers to do so, too. A worker that comes late finds less to do, or nothing; nobody waits for a thread that has not
started.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

Function = Callable[[], object]

#: The number of the processor that the calling thread runs on; None where the system does not say, or does not let us choose.
_processor = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None


class Team:
    """Workers that help whoever calls; any number of threads may call at the same time.

    Parameters
    ----------
    size : int
        How many threads work on one task at most, the caller included.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._start_over()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_over)

    def _start_over(self) -> None:
        """Forget the workers: there are none yet, or they stayed behind in the process that this one was forked from."""
        self._invitations: SimpleQueue[Function] = SimpleQueue()
        self._workers: list[int] = []  # the system's numbers of the threads
        self._kept_off: int | None = None
        self._hiring = threading.Lock()

    def run(self, function: Function, threads: int) -> None:
        """Call `function` on this thread, and on up to `threads` − 1 workers; all is done when the call on this thread returns."""
        helpers = min(threads, self.size) - 1
        if helpers < 1:
            function()
            return
        if len(self._workers) < helpers:
            self._hire(helpers)
        self._keep_off()
        for _ in range(helpers):
            self._invitations.put(function)
        function()
        # Invitations that nobody has taken are withdrawn: they would keep the function's data in memory. They may be another
        # caller's, who then goes on alone.
        with suppress(Empty):
            for _ in range(helpers):
                self._invitations.get_nowait()

    def _hire(self, workers: int) -> None:
        with self._hiring:
            while len(self._workers) < workers:
                worker = threading.Thread(target=_serve, args=(self._invitations,), name="fastnn-worker", daemon=True)
                worker.start()
                self._workers.append(worker.native_id or 0)
                self._kept_off = None

    def _keep_off(self) -> None:
        """Keep the workers off the processor of the calling thread.

        Linux may wake a worker on the processor of the thread that invites it, when the others were busy a moment ago, and takes
        some milliseconds to part the two: meanwhile the work takes longer than one thread would.
        """
        if _processor is None or (here := _processor()) == self._kept_off:
            return
        self._kept_off = here
        if others := os.sched_getaffinity(0) - {here}:
            for worker in self._workers:
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(worker, others)


def _serve(invitations: SimpleQueue[Function]) -> None:
    while True:
        invitations.get()()
