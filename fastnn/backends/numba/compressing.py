"""From dense samples to compressed ones, where most of their values are zeros.

Their values are looked at, and converted, in the pass that compresses them: there never is a second
dense copy.
"""

from __future__ import annotations

import math
import threading
from contextlib import suppress
from types import SimpleNamespace

import numpy as np

from ...streams import Stream, small_slices
from ...validation import Array
from .samples import SparseRows, index_dtype
from .support import LINE, SPARSE_DENSITY, SPARSE_ROWS, SPARSE_SIZE
from .threads import WorkerPool

Compressed = tuple[Array, Array, Array]


def for_one_call(kernels: SimpleNamespace, x: Array, dtype: np.dtype) -> SparseRows | None:
    """Compressed, if they are worth it and most of some rows that are looked at are zeros."""
    if x.size < SPARSE_SIZE or not _is_float(x):
        return None
    count = _estimate(kernels, x)
    return _finite(*compress_all(kernels, x, count, dtype), x.shape) if count else None


def pays(kernels: SimpleNamespace, x: Array | Stream) -> bool:
    """Whether samples are better compressed, by some of their rows."""
    some = x[:SPARSE_ROWS] if isinstance(x, Stream) else x
    return _is_float(some) and _estimate(kernels, some) > 0


def for_many_calls(
    kernels: SimpleNamespace, pool: WorkerPool, x: Array, dtype: np.dtype
) -> SparseRows | None:
    """Compressed, if most of all their values are zeros."""
    if not _is_float(x):
        return in_pieces(kernels, pool, Stream(x), dtype)
    # Where some rows are not like all of them, or it is not worth it, all are looked at.
    if not _estimate(kernels, x) and np.count_nonzero(x) > int(SPARSE_DENSITY * x.size):
        return None
    return in_pieces(kernels, pool, x, dtype)


def in_pieces(
    kernels: SimpleNamespace, pool: WorkerPool, x: Array | Stream, dtype: np.dtype
) -> SparseRows | None:
    """Samples that are read a piece at a time, compressed by all threads.

    None if too many of their values are not zero, or if they are not finite.
    """
    slices = small_slices(x)
    joined = _Joined(x.shape, dtype, slices[0].stop)

    def enter(some: slice) -> None:
        with np.errstate(over="ignore", under="ignore"):  # on each thread
            found = x[some]
        # Converted as they are compressed, if they are floating numbers.
        piece = np.ascontiguousarray(found, None if _is_float(found) else dtype)
        place = joined.place(len(piece))
        if not math.isfinite(kernels.compression.compress(piece, *place)):
            raise _NotCompressedError
        joined.add(some.start, place)

    try:
        pool.map(enter, slices)
    except _NotCompressedError:
        return None
    return SparseRows(joined.whole(), np.arange(x.shape[0]), x.shape[1])


class _NotCompressedError(Exception):
    """Too many values are not zero, or they are not finite."""


class _Joined:
    """Compressed pieces of so many rows, one after the other, whichever is ready first."""

    def __init__(self, shape: tuple[int, int], dtype: np.dtype, rows: int) -> None:
        self._room = rows * shape[1] + _margin(shape[1], np.dtype(np.float32))
        most = int(SPARSE_DENSITY * math.prod(shape))
        self._indptr = np.empty(shape[0] + 1, np.intp)
        # Memory that is never written takes no place; it is given back in the end.
        self._features = shape[1]
        self._indices, self._values = _empty(most, shape[1], dtype)
        self._row = self._total = 0  # where the next piece begins
        self._waiting: dict[int, Compressed] = {}  # for those before them, by their first row
        self._unused: list[Compressed] = []
        self._lock = threading.Lock()

    def place(self, rows: int) -> Compressed:
        """Where a piece is compressed; none but the last has fewer rows than the first."""
        with suppress(IndexError):
            indptr, *others = self._unused.pop()  # what was just used is in the cache
            return indptr[: rows + 1], *others
        return np.empty(rows + 1, np.intp), *_empty(self._room, self._features, self._values.dtype)

    def add(self, row: int, piece: Compressed) -> None:
        """Take a piece, of the rows from this one on, and what has waited for it."""
        with self._lock:
            self._waiting[row] = piece
            ready = []
            while (found := self._waiting.pop(self._row, None)) is not None:
                ready.append((self._row, self._total, found))
                self._row += len(found[0]) - 1
                self._total += int(found[0][-1])
            if self._total > len(self._values):
                raise _NotCompressedError
        for row, total, found in ready:
            indptr, indices, values = found
            self._indptr[row : row + len(indptr)] = indptr + total
            end = int(indptr[-1])
            self._indices[total : total + end] = indices[:end]
            self._values[total : total + end] = values[:end]
            self._unused.append(found)

    def whole(self) -> Compressed:
        """All pieces, after the last one."""
        for found in self._indices, self._values:
            found.resize(self._total, refcheck=False)
        return self._indptr, self._indices, self._values


def compress_all(
    kernels: SimpleNamespace, x: Array, count: int, dtype: np.dtype
) -> tuple[Compressed, float]:
    """The values of x that are not zero, in this dtype, and the largest of their absolute values.

    Room is made for `count` of them first. There may be more than were counted, as another thread
    may change x, but never more than all.
    """
    x, indptr = np.ascontiguousarray(x), np.empty(len(x) + 1, np.intp)
    for expected in (min(count, x.size), x.size):
        room = expected + _margin(x.shape[1], x.dtype)
        indices, values = _empty(room, x.shape[1], dtype)
        if not (largest := kernels.compression.compress(x, indptr, indices, values)) < 0:  # or NaN
            break
    end = int(indptr[-1])
    return (indptr, indices[:end], values[:end]), largest


def _empty(room: int, features: int, dtype: np.dtype) -> tuple[Array, Array]:
    """Indices and values to be written."""
    return np.empty(room, index_dtype(features)), np.empty(room, dtype)


def _margin(columns: int, dtype: np.dtype) -> int:
    """The room that the kernel wants behind all values: for one more row, and a vector."""
    return columns + LINE // dtype.itemsize


def _estimate(kernels: SimpleNamespace, x: Array) -> int:
    """About how many values are not zero, and some more, by some rows; 0 if it is too many."""
    step = -(-len(x) // SPARSE_ROWS)
    count = kernels.compression.count_nonzero(x, step)
    if count > SPARSE_DENSITY * -(-len(x) // step) * x.shape[1]:
        return 0
    return int(1.25 * count * step) + x.shape[1]


def _finite(samples: Compressed, largest: float, shape: tuple[int, int]) -> SparseRows | None:
    """The samples; None if they are not finite, for others to say where."""
    if not math.isfinite(largest):
        return None
    return SparseRows(samples, np.arange(shape[0]), shape[1])


def _is_float(x: Array) -> bool:
    return x.dtype in (np.float32, np.float64)
