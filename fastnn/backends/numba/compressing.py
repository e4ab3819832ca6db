"""From dense samples to compressed ones, where most of their values are zeros.

Their values are looked at, and converted, in the pass that compresses them: there never is a second
dense copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np

from ...streams import Stream
from ...validation import Array
from .samples import SparseRows
from .support import LINE, SPARSE_DENSITY, SPARSE_ROWS, SPARSE_SIZE

Compressed = tuple[Array, Array, Array]


def for_one_call(kernels: SimpleNamespace, x: Array, dtype: np.dtype) -> SparseRows | None:
    """Compressed, if they are worth it and most of some rows that are looked at are zeros."""
    if x.size < SPARSE_SIZE or not _is_float(x):
        return None
    count = _estimate(kernels, x)
    return _finite(*compress_all(kernels, x, count, dtype), x.shape) if count else None


def for_many_calls(kernels: SimpleNamespace, x: Array, dtype: np.dtype) -> SparseRows | None:
    """Compressed, if most of all their values are zeros."""
    if not _is_float(x):
        return of_pieces(kernels, Stream(x).small_pieces(), x.shape, dtype)
    count = _estimate(kernels, x)
    most = int(SPARSE_DENSITY * x.size)
    if not count:  # there, some rows were not like all of them, or it is not worth it
        count = int(np.count_nonzero(x))
        if count > most:
            return None
    found = compress(kernels, x, count, most, dtype)
    if found is None or len(found[0][2]) > most:  # of the last row, whatever it holds is taken
        return None
    return _finite(*found, x.shape)


def of_pieces(
    kernels: SimpleNamespace, pieces: Iterable[Array], shape: tuple[int, int], dtype: np.dtype
) -> SparseRows | None:
    """Compressed samples that come a piece at a time, if most of all their values are zeros."""
    most, total, row, finite = int(SPARSE_DENSITY * math.prod(shape)), 0, 0, True
    indptr = np.zeros(shape[0] + 1, np.intp)
    # Memory that is never written takes no place; it is given back in the end.
    room = most + _margin(shape[1], np.dtype(np.float32))  # the pieces may be of any dtype
    indices, values = np.empty(room, np.uint32), np.empty(room, dtype)
    for piece in pieces:
        # Converted as they are compressed, if they are floating numbers.
        x = np.ascontiguousarray(piece, None if _is_float(piece) else dtype)
        own = np.empty(len(piece) + 1, np.intp)
        largest = kernels.compression.compress(x, own, indices[total:], values[total:])
        if largest < 0:
            return None
        finite &= math.isfinite(largest)
        indptr[row + 1 : row + 1 + len(x)] = own[1:] + total
        total, row = total + int(own[-1]), row + len(x)
    if total > most or not finite:
        return None
    indices.resize(total, refcheck=False)
    values.resize(total, refcheck=False)
    return SparseRows((indptr, indices, values), np.arange(shape[0]), shape[1])


def compress(
    kernels: SimpleNamespace, x: Array, count: int, most: int, dtype: np.dtype
) -> tuple[Compressed, float] | None:
    """The values of x that are not zero, in this dtype, and the largest of their absolute values.

    Room is made for `count`, and then for `most` of them. None if there are more than that, but in
    the last row, which is taken whatever it holds.
    """
    x, indptr = np.ascontiguousarray(x), np.empty(len(x) + 1, np.intp)
    for expected in (min(count, most), most):
        room = expected + _margin(x.shape[1], x.dtype)
        # Unsigned: a signed index might be negative, and the kernels would have to ask.
        indices, values = np.empty(room, np.uint32), np.empty(room, dtype)
        if not (largest := kernels.compression.compress(x, indptr, indices, values)) < 0:  # or NaN
            return (indptr, indices[: indptr[-1]], values[: indptr[-1]]), largest
    return None


def compress_all(
    kernels: SimpleNamespace, x: Array, count: int, dtype: np.dtype
) -> tuple[Compressed, float]:
    """The same of all values of x; room is made for `count` of them first.

    There may be more than were counted, as another thread may change x, but never more than all.
    """
    found = compress(kernels, x, count, x.size, dtype)
    assert found is not None
    return found


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
