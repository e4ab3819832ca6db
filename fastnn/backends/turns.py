"""How many threads the BLAS has, for any number of trainings at the same time.

That number belongs to the whole process, and the last bits of a product depend on it. So it is set
by the first training that wants it, shared by all that want the same, and put back by the last one
out. Trainings that want different numbers take turns, some steps each: what a training computes
depends on what it wants itself, not on who else trains.

A library that is loaded meanwhile is not limited, and keeps the number that it starts with.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from functools import lru_cache
from types import TracebackType
from typing import Any, Self


class Turns:
    """Who may compute: any number of threads that want the same, in the order of their asking."""

    def __init__(self) -> None:
        self._limits: Any = None  # threadpoolctl's, while a limit is set
        self._available: int | None = None  # what there would be without what is wanted
        self._wanted: object = None
        self._start_empty([])

    def _start_empty(self, inside: list[int]) -> None:
        self._changed = threading.Condition()
        self._inside = inside  # the numbers of the threads
        self._waiting: deque[object] = deque()

    def available(self) -> int:
        """How many threads the BLAS has where nothing is limited here."""
        with self._changed:
            known = self._available if self._inside else None
            return _threads(blas()) if known is None else known

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread is inside."""
        return threading.get_ident() in self._inside

    def enter(self, wanted: object) -> None:
        """Wait for a turn: with so many threads, or None for all, or alone for any other object.

        A thread that is inside goes on with what it has.
        """
        ticket, me = object(), threading.get_ident()
        with self._changed:
            if me in self._inside:
                self._inside.append(me)
                return
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(
                    lambda: (
                        self._waiting[0] is ticket and (not self._inside or wanted == self._wanted)
                    )
                )
                if not self._inside:
                    self._limit(wanted)
                self._inside.append(me)
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def leave(self) -> None:
        """End the turn, if the calling thread has one: an interrupt may have ended it."""
        with self._changed:
            if self.is_mine:
                self._inside.remove(threading.get_ident())
                if not self._inside:
                    self._restore()
            self._changed.notify_all()

    def give_way(self) -> None:
        """Let those who wait have a turn; those inside are asked to between their steps."""
        if self._waiting and self._inside.count(threading.get_ident()) == 1:
            wanted = self._wanted
            self.leave()
            self.enter(wanted)

    def _limit(self, wanted: object) -> None:
        self._wanted, self._available = wanted, None
        if wanted is None:  # and nothing is limited: half a millisecond is saved
            return
        libraries = blas()
        self._available = _threads(libraries)
        if isinstance(wanted, int):
            self._limits = libraries.limit(limits=wanted)

    def _restore(self) -> None:
        limits, self._limits = self._limits, None
        if limits is not None:
            limits.restore_original_limits()

    def after_fork(self) -> None:
        """In the child there is this thread only."""
        self._start_empty([i for i in self._inside if i == threading.get_ident()])
        if not self._inside:
            self._restore()


class Turn:
    """A context with so many BLAS threads, or None for all that there are."""

    def __init__(self, threads: int | None) -> None:
        self._threads = threads

    def __enter__(self) -> Self:
        threads = self._threads
        every = threads is None or threads == TURNS.available()
        TURNS.enter(None if every else threads)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        TURNS.leave()

    @property
    def threads(self) -> int:
        """How many threads the BLAS has now."""
        return _threads(blas())

    def give_way(self) -> None:
        """Let others have their turn, if somebody waits for it."""
        TURNS.give_way()


def blas() -> Any:
    """The BLAS libraries that are loaded."""
    import threadpoolctl  # noqa: F401

    return _loaded(len(sys.modules))


@lru_cache(maxsize=1)
def _loaded(modules: int) -> Any:  # noqa: ARG001
    """Those that so many modules have brought: to look at every library takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _threads(libraries: Any) -> int:
    return max((library["num_threads"] for library in libraries.info()), default=1)


#: Of this process.
TURNS = Turns()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=TURNS.after_fork)
