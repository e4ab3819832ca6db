"""Threads that help with compiled code which releases the interpreter lock.

Numba has threads of its own, started by ``parallel=True``. They are quicker to start than these, and not used here: on a machine
that does anything else, each parallel region waits until all of its threads have been scheduled; a forked child of a process that
has used them (under GNU OpenMP), or two Python threads at a time (under ``workqueue``), end the process; and each function is
compiled twice.

Here a function is compiled to be called by any number of threads at the same time: each call takes parts of the work until there
are none left, and returns when all are done (:mod:`fastnn.backends.numba_atomics`). The thread that wants the work done calls it,
and invites workers to do so, too. A worker that comes late finds less to do, or nothing; nobody waits for a thread that has not
started.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

Function = Callable[[], object]


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
        self._workers = 0
        self._hiring = threading.Lock()

    def run(self, function: Function, threads: int) -> None:
        """Call `function` on this thread, and on up to `threads` − 1 workers; all is done when the call on this thread returns."""
        helpers = min(threads, self.size) - 1
        if self._workers < helpers:
            self._hire(helpers)
        for _ in range(helpers):
            self._invitations.put(function)
        function()
        # Invitations that nobody has taken are withdrawn: they would keep the function's data in memory. They may be another
        # caller's, who then goes on alone.
        try:
            for _ in range(helpers):
                self._invitations.get_nowait()
        except Empty:
            pass

    def _hire(self, workers: int) -> None:
        with self._hiring:
            while self._workers < workers:
                threading.Thread(target=_serve, args=(self._invitations,), name="fastnn-worker", daemon=True).start()
                self._workers += 1


def _serve(invitations: SimpleQueue[Function]) -> None:
    while True:
        invitations.get()()
