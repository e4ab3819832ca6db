"""Kernels compiled by several processes: a compiler of Numba's uses one thread.

What another process is compiling this one leaves for last, and waits for it (:mod:`.locks`); what
is compiled it loads. So nobody says who compiles what: each goes through the same, in an order of
its own.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from numba import typeof
from numba.core import event

from .kernels.jit import KEPT, OtherProcessError, cache_of, leaving_to_others
from .locks import HAS_LOCKS

_log = logging.getLogger("fastnn.compilation")


class _Inside(threading.local):
    """Whether this thread has others that help already."""

    helped = False


_inside = _Inside()


def compile_together(wanted: Sequence[tuple[Any, Sequence[Any]]], processes: int) -> None:
    """Compile, or load, functions for the types of arguments, by so many processes at most.

    Others begin with the last ones.
    """
    kinds = [(function, tuple(map(typeof, arguments))) for function, arguments in wanted]
    missing = [(function, kind) for function, kind in kinds if kind not in function.overloads]
    helpers = [(str(process),) for process in range(1, min(processes, len(missing)))]
    names = [(f.py_func.__module__, f.py_func.__qualname__, kind) for f, kind in missing]
    with helping(__name__, helpers, names):
        _compile(missing)


def _compile(wanted: Sequence[tuple[Any, Any]]) -> None:
    """Compile, or load, functions for types; last of all what others are compiling."""
    waiting = []
    for function, kind in wanted:
        try:
            with leaving_to_others():
                function.compile(kind)
        except OtherProcessError:
            waiting.append((function, kind))
    for function, kind in waiting:
        function.compile(kind)


@contextmanager
def helping(module: str, helpers: Sequence[Sequence[str]], given: Any = None) -> Iterator[None]:
    """Let other processes compile, too, which run a module with each of these arguments.

    They start when this thread compiles its first kernel, get `given`, pickled, as their standard
    input, and are gone when this context is left. Where they help already, no more are started.
    """
    can = HAS_LOCKS and _can_run_python() and not _inside.helped
    compilers = _Compilers(module, helpers if can else (), given)
    before, _inside.helped = _inside.helped, True
    with event.install_listener("numba:compile", compilers):
        try:
            yield
        finally:
            _inside.helped = before
            compilers.end()


def _can_run_python() -> bool:
    """Whether this process runs Python itself: not what was frozen, and not what embeds it."""
    name = Path(sys.executable or "").name.lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


class _Compilers(event.Listener):
    """Processes that start when this one compiles its first kernel."""

    def __init__(self, module: str, helpers: Sequence[Sequence[str]], given: Any) -> None:
        self._module, self._helpers, self._given = module, helpers, given
        self._running: list[subprocess.Popen[bytes]] = []

    def on_start(self, event: Any) -> None:
        cache = cache_of(event.data["dispatcher"])
        if cache is None or not os.access(cache.cache_path, os.W_OK):
            return  # a function of somebody else's, or nobody could load what is compiled
        helpers, self._helpers = self._helpers, ()
        for arguments in helpers:
            try:
                self._start(arguments)
            except OSError as error:  # there may be no more processes; this one does it all, then
                _log.debug("a process that would compile kernels cannot be started: %s", error)

    def on_end(self, event: Any) -> None:
        pass

    def _start(self, arguments: Sequence[str]) -> None:
        optimized = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
        process = subprocess.Popen(
            # What is imported here is imported there, wherever it was found, and nothing else.
            [sys.executable, "-P", *optimized, "-m", self._module, *arguments],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._running.append(process)
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:  # it has ended already
            pickle.dump(self._given, process.stdin)

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


def _help(names: Sequence[tuple[str, str, Any]], process: int) -> None:
    """Compile functions by their modules and names."""
    wanted = []
    for module, name, kind in names[::-1]:
        import_module(module)
        wanted.append((KEPT[module, name], kind))
    _compile([*wanted[process - 1 :], *wanted[: process - 1]])


if __name__ == "__main__":
    _help(pickle.load(sys.stdin.buffer), int(sys.argv[1]))
