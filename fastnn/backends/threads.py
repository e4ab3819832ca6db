"""Sharing the parts of a task among threads, for compiled code that releases the interpreter lock.

Numba has threads of its own, started by ``parallel=True``. They are quicker to start than these, and not used here: on a machine
that does anything else, each parallel region waits until all of its threads have been scheduled; a forked child of a process that
has used them (under GNU OpenMP), or two Python threads at a time (under ``workqueue``), end the process; and each function is
compiled twice.

Here the thread that calls takes the parts of the task one after the other, and so does every idle worker. A worker that comes late
finds less to do, or nothing; nobody waits for a thread that has not started.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from queue import SimpleQueue


class _Task:
    """A function to be called once with each number below `parts`, by whoever comes."""

    def __init__(self, function: Callable[[int], object], parts: int) -> None:
        self._function = function
        self._parts = parts
        self._take = itertools.count().__next__  # one number to each caller: the interpreter lock sees to it
        self._finish = itertools.count(1).__next__
        self._unfinished = threading.Lock()
        self._unfinished.acquire()
        self._error: BaseException | None = None

    def work(self) -> None:
        """Take parts until there are none left."""
        while (part := self._take()) < self._parts:
            try:
                if self._error is None:
                    self._function(part)
            except BaseException as error:
                self._error = error
            if self._finish() == self._parts:
                self._unfinished.release()

    def wait(self) -> None:
        """Wait for the parts that others took, and raise what any of them raised."""
        self._unfinished.acquire()
        if self._error is not None:
            raise self._error


class Team:
    """The calling thread and the workers that help it; any number of threads may call at the same time.

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
        self._tasks: SimpleQueue[_Task] = SimpleQueue()
        self._workers = 0
        self._hiring = threading.Lock()

    def share(self, function: Callable[[int], object], parts: int) -> None:
        """Call `function` with 0 … parts − 1, each once, on as many threads as there are parts and members."""
        helpers = min(parts, self.size) - 1
        if helpers < 1:
            for part in range(parts):
                function(part)
            return
        if self._workers < helpers:
            self._hire(helpers)
        task = _Task(function, parts)
        for _ in range(helpers):
            self._tasks.put(task)
        task.work()
        task.wait()

    def _hire(self, workers: int) -> None:
        with self._hiring:
            while self._workers < workers:
                threading.Thread(target=_serve, args=(self._tasks,), name="fastnn-worker", daemon=True).start()
                self._workers += 1


def _serve(tasks: SimpleQueue[_Task]) -> None:
    while True:
        tasks.get().work()
