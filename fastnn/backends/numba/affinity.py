"""Threads that help another one: how they are started, and on which processors they run."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: The number of the processor that the calling thread runs on; None where the system does not say,
#: or does not let us choose.
_processor = (
    getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
)


class KeptOff:
    """Threads that are kept off the processor of the thread that they help.

    Linux may wake one on the processor of the thread that asks for it, when the others were busy a
    moment ago, and takes some milliseconds to part the two: meanwhile the work takes longer than
    one thread would.
    """

    def __init__(self) -> None:
        self.threads: list[int] = []  # the system's numbers, 0 until they are known
        self._kept_free: int | None = None
        self._refused = False

    def start(self, name: str, target: Callable[..., object], *arguments: Any) -> bool:
        """Start one more; False if the system gives no more threads."""
        thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
        self.threads.append(0)  # it counts before it runs: an interrupt may come in between
        try:
            thread.start()
        except RuntimeError:
            self.threads.pop()
            return False
        self.threads[-1] = thread.native_id or 0
        self._kept_free = None
        return True

    def keep_off(self) -> None:
        """Keep them off the processor of the calling thread."""
        if _processor is None or self._refused:
            return
        if (here := _processor()) == self._kept_free:
            return
        self._kept_free = here
        try:
            others = os.sched_getaffinity(0) - {here}
            for thread in filter(None, self.threads if others else ()):
                with suppress(ProcessLookupError):  # that thread has ended
                    os.sched_setaffinity(thread, others)
        except OSError:  # a container may forbid it
            self._refused = True
