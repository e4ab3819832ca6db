"""Copies of the point for each call, and tasks for the threads and processes of a caller."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import ClusterError, InputError
from ..validation import Array, positive_int
from .compiled import evaluate_compiled, is_compiled
from .points import copy
from .processes import process_map
from .values import Function, Values

if TYPE_CHECKING:
    from concurrent.futures import Executor

#: How many processes, or what maps like the built-in ``map``: SciPy's convention. Or the client of
#: a cluster, which has such a map.
Workers: TypeAlias = int | Callable[[Callable, Iterable], Iterable] | Any

#: From how many elements on a compiled function is called in threads: fewer are done before the
#: threads have started.
MIN_THREADED_SIZE = 64

#: Into how many tasks the elements are divided at most; each task carries a copy of the point to
#: its worker.
MAX_TASKS = 128


def evaluate_on_copies(xp: Any, f: Function, x: Array, points: Array, values: Values) -> Array:
    """The values of `f`, which gets a copy of `x` for each call, an element of it replaced."""
    if xp is np:
        replacements = points.reshape(points.shape[0], -1)
        return _numbers_on_copies(f, x, replacements, 0, values).reshape(points.shape)
    own = copy(xp, x)

    def numbers() -> Iterator[tuple[Any, Any]]:
        for k, *at in np.ndindex(points.shape):
            index = tuple(at)
            own[index] = points[(k, *index)]
            yield (k, *index), values.number(f(copy(xp, own)))
            own[index] = x[index]

    return values.gathered(points, numbers())


def _numbers_on_copies(
    f: Function, x: np.ndarray, replacements: np.ndarray, start: int, values: Values
) -> np.ndarray:
    own = x.copy()
    elements = own.reshape(-1)
    usual = complex if x.dtype.kind == "c" else float  # NumPy's double precision is one of them
    found = []
    for others in replacements.tolist():
        for index, other in enumerate(others, start):
            original = elements[index]
            elements[index] = other
            value = f(own.copy())
            found.append(value if isinstance(value, usual) else values.number(value))
            elements[index] = original
    return np.array(found, values.wide).reshape(replacements.shape)


def evaluate_in_tasks(
    f: Function, x: np.ndarray, points: np.ndarray, values: Values, workers: Workers
) -> np.ndarray:
    """The same by `workers`, in a compiled loop for a compiled `f`."""
    replacements = points.reshape(points.shape[0], -1)
    if is_compiled(f) and workers is None and x.size < MIN_THREADED_SIZE:
        return evaluate_compiled(f, x, replacements, 0, values).reshape(points.shape)
    pieces = np.array_split(replacements, min(MAX_TASKS, x.size), axis=1)
    starts = np.cumsum([0, *(piece.shape[1] for piece in pieces[:-1])]).tolist()
    with mapping(f, workers) as map_:
        found = list(map_(partial(_task, f, x), list(zip(starts, pieces, strict=True))))
        # The map of some executors gives futures.
        done = [each if isinstance(each, tuple) else each.result() for each in found]
    for _, dtype in done:
        values.note(dtype)
    return np.concatenate([found for found, _ in done], axis=1).reshape(points.shape)


def _task(f: Function, x: np.ndarray, piece: tuple[int, np.ndarray]) -> tuple[np.ndarray, Any]:
    """The values of `f` for one piece of the replacements, and the coarsest dtype among them."""
    start, replacements = piece
    values = Values(np, x)
    if is_compiled(f):
        found = evaluate_compiled(f, x, replacements, start, values)
    else:
        found = _numbers_on_copies(f, x, replacements, start, values)
    return found, values.dtype


@contextmanager
def mapping(f: Function, workers: Workers) -> Iterator[Callable[..., Iterable]]:
    """The caller's map, that of threads for a compiled `f`, or of processes for any other."""
    if (client := _client_of(workers)) is not None:
        yield _map_of(client)
        return
    if callable(workers):
        yield workers
        return
    count = None if workers in (None, -1) else positive_int(workers, "workers")
    if not is_compiled(f):
        try:
            pickle.dumps(f)
        except Exception as error:
            raise InputError(
                f"f cannot be sent to other processes ({error}); define it with def at the top "
                "level of a module, or pass the map of a thread pool as workers"
            ) from error
        with process_map(count) as map_:
            yield map_
        return
    from concurrent.futures import ThreadPoolExecutor

    from numba import config

    # A function that is parallel itself has Numba's threads, which one caller at a time may use.
    single = f.targetoptions.get("parallel")  # type: ignore[attr-defined]
    threads = count or config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    with ThreadPoolExecutor(1 if single else threads) as executor:
        yield partial(_map_in, executor)


def _client_of(workers: Any) -> Any:
    """The client of a cluster, as Dask's, that these are, or whose map; None if there is none.

    It has a map, and gathers its results.
    """
    whose = getattr(workers, "__self__", None) if callable(workers) else None
    client = whose if getattr(workers, "__name__", "") == "map" else workers
    is_one = all(callable(getattr(client, name, None)) for name in ("map", "gather"))
    return client if is_one else None


def _map_of(client: Any) -> Callable[..., Iterable]:
    """The map of a client, as the built-in one is.

    Raises
    ------
    InputError
        If it cannot be used.
    """
    if getattr(client, "asynchronous", False) or getattr(client, "status", "running") != "running":
        state = "asynchronous" if getattr(client, "asynchronous", False) else client.status
        raise InputError(
            f"workers is a client that is {state}; give one that is connected, Client(address), "
            "or a number of processes"
        )

    def gathered(call: Callable, pieces: Iterable) -> Iterable:
        try:
            # Not pure: nothing is taken from a computation before.
            return client.gather(client.map(call, pieces, pure=False))
        except Exception as error:  # of f, or of Dask
            if type(error).__module__.partition(".")[0] != "distributed":
                raise
            raise ClusterError(
                f"the cluster has lost what it was to evaluate ({error}); look at the logs of its "
                "workers, and start again"
            ) from error

    return gathered


def _map_in(executor: Executor, call: Callable, pieces: Iterable) -> Iterable:
    """The executor's map; where the system gives no more threads, that of the calling one."""
    pieces = list(pieces)
    try:
        return executor.map(call, pieces)  # starts its threads; what `call` raises comes later
    except RuntimeError:
        return map(call, pieces)
