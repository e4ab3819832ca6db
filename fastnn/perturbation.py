"""How a function is evaluated with one element of its argument changed at a time: the work of a numerical gradient.

One element after another in place is the book's way, and the only one for a function that ignores its argument and reads
the caller's array. The others give the function copies: blocks of many points for a vectorized function, a compiled loop
in threads for a function of ``numba.njit``, and tasks for the workers that a caller provides.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import islice, product
from types import FunctionType
from typing import Any

import numpy as np

from .errors import DtypeError, InputError
from .validation import Array, get_array_module, positive_int

#: Maps a point to a number or, vectorized, an array of points to an array of as many numbers.
Function = Callable[[Array], Any]

#: How many processes, or what maps like the built-in ``map``: SciPy's convention.
Workers = int | Callable[[Callable, Iterable], Iterable] | None

#: Bytes of copies that a vectorized function gets in one call. On a GPU, enough to keep it busy. On a processor, what stays
#: in its cache, and in arrays below 128 KiB: for larger temporary arrays of f, the C library may ask the system for memory
#: each time and give it back, and the page faults may take longer than the arithmetic.
HOST_BLOCK_BYTES = 124 * 2**10
DEVICE_BLOCK_BYTES = 2**26

#: From how many elements on a compiled function is called in threads: fewer are done before the threads have started.
MIN_THREADED_SIZE = 64

#: Into how many tasks the elements are divided at most; each task carries a copy of the point to its worker.
MAX_TASKS = 128


def evaluate(f: Function, x: Array, *, vectorized: bool) -> Any:
    """f(x), checked to be one number."""
    return _block_values(f, x[None].copy())[0] if vectorized else number(f(x.copy()), x.dtype)


def evaluate_rows(f: Function, X: Array, *, vectorized: bool) -> Array:
    """f of each row of `X`."""
    if vectorized:
        return _block_values(f, X.copy())
    values = _empty_values(X, len(X))
    for i, row in enumerate(X):
        values[i] = evaluate(f, row, vectorized=False)
    return values


def evaluate_perturbed(f: Function, x: Array, points: Array, *, vectorized: bool, workers: Workers) -> Array:
    """The values of `f` at `x`, not empty, with each element in turn replaced by those at its place in `points`.

    Parameters
    ----------
    f, x, vectorized, workers
        As for :func:`fastnn.numerical_gradient`.
    points : array, shape (K, *x.shape)
        K replacements for every element. If they are complex, `f` gets a complex copy of `x`.

    Returns
    -------
    array of the shape of `points`, real or complex like it, of double precision at least
    """
    x = _of_kind(x, points)
    replacements = points.reshape(len(points), -1)
    if vectorized:
        values = _in_blocks(f, x, replacements)
    elif workers is not None or is_compiled(f):
        values = _in_tasks(f, x, replacements, workers)
    else:
        check_writeable(x, "x")
        values = _one_by_one(f, x, replacements)
    return values.reshape(points.shape)


def evaluate_perturbed_rows(f: Function, X: Array, points: Array, *, vectorized: bool) -> Array:
    """The same for each row of `X` as a point by itself; see :func:`fastnn.numerical_gradient_rows`."""
    X = _of_kind(X, points)
    if vectorized:
        return _column_by_column(f, X, points)
    if not is_compiled(f):
        check_writeable(X, "X")
        return _row_by_row(f, X, points)
    _check_compiled(f, X[0])
    pieces = min(MAX_TASKS, len(X))
    tasks = zip(np.array_split(X.copy(), pieces), np.array_split(points, pieces, axis=1), strict=True)
    with _mapping(f, None) as map_:
        return np.concatenate(list(map_(lambda task: _row_by_row(f, *task), tasks)), axis=1)


def is_compiled(f: Function) -> bool:
    """Whether `f` was compiled by ``numba.njit``. While Numba is not loaded, nothing was: it is not imported for this."""
    if isinstance(f, FunctionType) or "numba" not in sys.modules:
        return False
    from numba.extending import is_jitted

    return is_jitted(f)


# -- one element after another -----------------------------------------------------------------------------------------


def in_turn(x: Array, start: int = 0) -> tuple[Array, Iterable[tuple[Any, Any]]]:
    """What to index for the elements of `x` from number `start` on, and for each of these its index and its value.

    This is all that a gradient adds to the time of f, so it is done with what Python is fastest at: the elements as Python's
    numbers, which are exact for every dtype, and one index for each where memory is contiguous.
    """
    if x.flags.c_contiguous:
        elements = x.reshape(-1)
        return elements, enumerate((elements[start:] if start else elements).tolist(), start)
    return x, islice(zip(product(*map(range, x.shape)), x.flatten().tolist(), strict=True), start, None)


def _one_by_one(f: Function, x: Array, replacements: Array, start: int = 0) -> Array:
    """The values of `f` with the elements of `x` from number `start` on replaced in place, in turn, and restored."""
    values = _values_in_turn(f, x, replacements, start)
    dtype = _values_dtype(x)
    if get_array_module(x) is np:
        return np.fromiter(values, dtype, replacements.size).reshape(replacements.shape)
    collected = get_array_module(x).empty(replacements.shape, dtype)
    for i, value in zip(np.ndindex(replacements.shape), values, strict=True):
        collected[i] = value  # stays on the GPU: nothing waits for it
    return collected


def _values_in_turn(f: Function, x: Array, replacements: Array, start: int) -> Iterator[Any]:
    usual = complex if x.dtype.kind == "c" else float  # what f returns most often; NumPy's double precision is one of them
    for others in replacements.tolist():
        elements, originals = in_turn(x, start)
        for (index, original), other in zip(originals, others, strict=False):
            try:
                elements[index] = other
                value = f(x)
                yield value if isinstance(value, usual) else number(value, x.dtype)
            finally:
                elements[index] = original


def _compiled(f: Function, x: np.ndarray, replacements: np.ndarray, start: int = 0) -> np.ndarray:
    """The same in a compiled loop around the compiled `f`; `x` is C-contiguous."""
    values = _empty_values(x, replacements.shape)
    _compiled_loop()(f, x, x.reshape(-1), np.ascontiguousarray(replacements), start, values)
    return values


@cache
def _compiled_loop() -> Callable[..., None]:
    from numba import njit

    # Numba compiles this once for each f and dtype. It releases the GIL, so that Python's threads run it in parallel: unlike
    # Numba's own, they carry an exception of f to the caller, and any number of callers may use them at a time.
    @njit(nogil=True)
    def loop(f: Any, x: Any, flat: Any, replacements: Any, start: int, values: Any) -> None:
        for i in range(replacements.shape[1]):
            original = flat[start + i]
            for k in range(replacements.shape[0]):
                flat[start + i] = replacements[k, i]
                values[k, i] = f(x)
            flat[start + i] = original

    return loop


def _row_by_row(f: Function, X: Array, points: Array) -> Array:
    loop = _compiled if is_compiled(f) else _one_by_one
    values = _empty_values(X, points.shape)
    for i in range(len(X)):
        values[:, i] = loop(f, X[i], points[:, i].reshape(len(points), -1)).reshape(points[:, i].shape)
    return values


# -- many points in one call -------------------------------------------------------------------------------------------


def _in_blocks(f: Function, x: Array, replacements: Array) -> Array:
    """The values of `f`, called with many copies of `x` at a time; they are made once, and only what is replaced is written.

    All calls are of the same shape, for the sake of functions that a compiler specializes on it: the last one repeats a few
    elements of the one before if it has to.
    """
    xp = get_array_module(x)
    count, size = replacements.shape
    most = max((HOST_BLOCK_BYTES if xp is np else DEVICE_BLOCK_BYTES) // (count * x.nbytes), 1)
    length = -(-size // -(-size // most))  # as many blocks as it takes, about equal
    block = xp.empty((count, length * size), x.dtype)
    block.reshape(count, length, size)[...] = originals = x.reshape(-1)
    points = _read_only(block.reshape(count * length, *x.shape))
    values = _empty_values(x, replacements.shape) if length < size else None
    for start in (*range(0, size - length, length), size - length):
        part = slice(start, start + length)
        diagonals = block[:, start :: size + 1]  # for each replacement, element start + i of point i
        diagonals[...] = replacements[:, part]
        found = _block_values(f, points).reshape(count, length)
        if values is None:
            return found
        values[:, part] = found
        diagonals[...] = originals[part]
    return values


def _read_only(x: Array) -> Array:
    """A view that an f cannot write to, whose caller needs it as it is; CuPy has no such thing."""
    x = x.view()
    if type(x) is np.ndarray:
        x.setflags(write=False)
    return x


def _column_by_column(f: Function, X: Array, points: Array) -> Array:
    """The same element replaced in every row at once: one call for each column and replacement."""
    values = _empty_values(X, points.shape)
    perturbed = X.copy()
    for k, *index in product(range(len(points)), *map(range, X.shape[1:])):
        column = (slice(None), *index)
        perturbed[column] = points[k][column]
        values[k][column] = _block_values(f, _read_only(perturbed))
        perturbed[column] = X[column]
    return values


# -- tasks for threads and processes -----------------------------------------------------------------------------------


def _in_tasks(f: Function, x: Array, replacements: Array, workers: Workers) -> Array:
    if is_compiled(f):
        _check_compiled(f, x)
        if workers is None and x.size < MIN_THREADED_SIZE:
            return _compiled(f, x.copy(), replacements)
    elif get_array_module(x) is not np:
        raise InputError("workers take NumPy arrays; on a GPU, pass vectorized=True")
    pieces = np.array_split(replacements, min(MAX_TASKS, x.size), axis=1)
    starts = np.cumsum([0, *(piece.shape[1] for piece in pieces[:-1])]).tolist()
    with _mapping(f, workers) as map_:
        return np.concatenate(list(map_(partial(_task, f, x), zip(starts, pieces, strict=True))), axis=1)


def _task(f: Function, x: np.ndarray, piece: tuple[int, np.ndarray]) -> np.ndarray:
    """The values of `f` for one piece of the replacements, computed on a copy of `x`."""
    start, replacements = piece
    loop = _compiled if is_compiled(f) else _one_by_one
    return loop(f, x.copy(), replacements, start)


@contextmanager
def _mapping(f: Function, workers: Workers) -> Iterator[Callable[..., Iterable]]:
    """What carries the tasks out: the caller's map, threads for a compiled `f`, processes for any other."""
    if callable(workers):
        yield workers
        return
    count = None if workers in (None, -1) else positive_int(workers, "workers")
    from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor

    executor: Executor
    if is_compiled(f):
        from numba import config

        # A function that is parallel itself has Numba's threads, which one caller at a time may use.
        single = f.targetoptions.get("parallel")  # type: ignore[attr-defined]
        threads = count or config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        executor = ThreadPoolExecutor(1 if single else threads)
    else:
        try:
            pickle.dumps(f)
        except Exception as error:
            raise InputError(
                f"f cannot be sent to other processes ({error}); define it with def at the top level of a module, or pass "
                "the map of a thread pool as workers"
            ) from error
        executor = ProcessPoolExecutor(count)
    with executor:
        yield executor.map


# -- checks ------------------------------------------------------------------------------------------------------------


def number(value: Any, dtype: np.dtype) -> Any:
    """What f returned at a point of `dtype`, as one number, or an error that says what is wrong with it."""
    a = value if hasattr(value, "dtype") else np.asarray(value)
    if a.dtype.kind not in "fiubc":
        raise DtypeError(f"f returned a {type(value).__name__}; it must return a number")
    if a.size != 1:
        raise InputError(
            f"f returned an array of shape {a.shape}, but only one number has a gradient: reduce it, for example by its "
            "sum; numerical_diff differentiates elementwise, numerical_gradient_rows each row as a point by itself"
        )
    _check_kind(a.dtype, dtype)
    return a.reshape(())


def _block_values(f: Function, block: Array) -> Array:
    """f(block), checked to be one number for each point."""
    values = f(block)
    values = values if hasattr(values, "dtype") else np.asarray(values)
    if values.dtype.kind not in "fiubc" or values.shape != block.shape[:1]:
        raise InputError(
            f"f returned shape {values.shape} of {values.dtype} for {len(block)} points of shape {block.shape[1:]}; with "
            f"vectorized=True it must return one number for each, shape {block.shape[:1]}: reduce all axes but the first"
        )
    _check_kind(values.dtype, block.dtype)
    return values


def _check_kind(found: np.dtype, point: np.dtype) -> None:
    if point.kind == "c" and found.kind != "c":
        raise InputError(
            f"f returned {found} at a complex point: scheme='complex' takes a function that computes with its argument, "
            "without abs, comparisons or casts to float; use scheme='central'"
        )
    if point.kind != "c" and found.kind == "c":
        raise InputError(f"f returned {found}, but only a real function has a gradient; return its real part")


def check_writeable(x: Array, name: str) -> None:
    """Raise InputError if the elements of `x` cannot be replaced in place."""
    if not getattr(x.flags, "writeable", True):  # CuPy's arrays always are and have no such flag
        raise InputError(f"{name} is read-only, but its elements are changed in place and restored; pass {name}.copy()")


def _check_compiled(f: Function, x: Array) -> None:
    """Refuse now what would fail in the compiled loop with one of Numba's long messages."""
    if get_array_module(x) is not np:
        raise InputError("a function compiled by Numba takes NumPy arrays; on a GPU, pass one of CuPy and vectorized=True")
    evaluate(f, x, vectorized=False)


def _of_kind(x: Array, points: Array) -> Array:
    return x.astype(points.dtype) if points.dtype.kind == "c" else x


def _empty_values(x: Array, shape: int | tuple[int, ...]) -> Array:
    return get_array_module(x).empty(shape, _values_dtype(x))


def _values_dtype(x: Array) -> np.dtype:
    return _at_least_double(x.dtype)


@cache
def _at_least_double(dtype: np.dtype) -> np.dtype:
    return np.result_type(dtype, np.float64)
