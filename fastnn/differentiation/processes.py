"""A pool of processes, and what becomes of it in a script that each of them runs again."""

from __future__ import annotations

import copy
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InputError

_NAME = "fastnn-worker"

#: The exit code of a worker that would have started workers while it was starting itself.
_UNGUARDED = 83


@contextmanager
def process_map(count: int | None) -> Iterator[Callable[..., Iterable]]:
    """The map of a pool of so many processes, or as many as there are cores.

    Where processes are spawned, each first imports the script of its parent. In one without a main
    guard it comes here again: it ends quietly, and the error is the parent's.

    Raises
    ------
    InputError
        If the script has no main guard.
    """
    this = multiprocessing.current_process()
    if this.name == _NAME and getattr(this, "_inheriting", False):
        os._exit(_UNGUARDED)
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    context: Any = copy.copy(multiprocessing.get_context(multiprocessing.get_start_method()))
    create, created = context.Process, []

    def process(*arguments: Any, **options: Any) -> Any:
        created.append(create(*arguments, **options, name=_NAME))
        return created[-1]

    context.Process = process
    try:
        with ProcessPoolExecutor(count, context) as executor:
            yield executor.map
    except (BrokenProcessPool, EOFError, ConnectionError):
        if not any(worker.exitcode == _UNGUARDED for worker in created):
            raise
        raise InputError(
            "workers starts processes, and each of them runs this script again; put what the "
            "script does under: if __name__ == '__main__':"
        ) from None
