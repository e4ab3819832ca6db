"""From dense samples to compressed ones, where most of their values are zeros.

Their values are looked at in the pass that compresses them, and what is not zero is converted:
there never is a second dense copy.
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
    return _finite(kernels, compress_all(kernels, x, count), x.shape, dtype) if count else None


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
    found = compress(kernels, x, count, most)
    if found is None or len(found[2]) > most:  # of the last row, whatever it holds is taken
        return None
    return _finite(kernels, found, x.shape, dtype)


def of_pieces(
    kernels: SimpleNamespace, pieces: Iterable[Array], shape: tuple[int, int], dtype: np.dtype
) -> SparseRows | None:
    """Compressed samples that come a piece at a time, if most of all their values are zeros."""
    most, total, row = int(SPARSE_DENSITY * math.prod(shape)), 0, 0
    indptr = np.zeros(shape[0] + 1, np.intp)
    # Memory that is never written takes no place; it is given back in the end.
    room = most + _margin(shape[1], dtype)
    indices, values = np.empty(room, np.uint32), np.empty(room, dtype)
    for piece in pieces:
        x, own = np.ascontiguousarray(piece, dtype), np.empty(len(piece) + 1, np.intp)
        if not kernels.compression.compress(x, own, indices[total:], values[total:]):
            return None
        indptr[row + 1 : row + 1 + len(x)] = own[1:] + total
        total, row = total + int(own[-1]), row + len(x)
    if total > most:
        return None
    indices.resize(total, refcheck=False)
    values.resize(total, refcheck=False)
    return _finite(kernels, (indptr, indices, values), shape, dtype)


def compress(kernels: SimpleNamespace, x: Array, count: int, most: int) -> Compressed | None:
    """The values of x that are not zero: room is made for `count`, and then for `most` of them.

    None if there are more than that, but in the last row, which is taken whatever it holds.
    """
    x, indptr = np.ascontiguousarray(x), np.empty(len(x) + 1, np.intp)
    for expected in (min(count, most), most):
        room = expected + _margin(x.shape[1], x.dtype)
        # Unsigned: a signed index might be negative, and the kernels would have to ask.
        indices, values = np.empty(room, np.uint32), np.empty(room, x.dtype)
        if kernels.compression.compress(x, indptr, indices, values):
            return indptr, indices[: indptr[-1]], values[: indptr[-1]]
    return None


def compress_all(kernels: SimpleNamespace, x: Array, count: int) -> Compressed:
    """All values of x that are not zero; room is made for `count` of them first.

    There may be more than were counted, as another thread may change x, but never more than all.
    """
    found = compress(kernels, x, count, x.size)
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


def _finite(
    kernels: SimpleNamespace, samples: Compressed, shape: tuple[int, int], dtype: np.dtype
) -> SparseRows | None:
    """The samples in this dtype; None if they are not finite there, for others to say where."""
    indptr, indices, values = samples
    largest = 0.0
    if values.dtype != dtype:
        values, found = np.empty(values.size, dtype), values
        if values.size:
            largest = kernels.magnitude.convert(found, values)
    elif values.size:
        largest = kernels.magnitude.largest(values)
    if not math.isfinite(largest):
        return None
    return SparseRows((indptr, indices, values), np.arange(shape[0]), shape[1])


def _is_float(x: Array) -> bool:
    return x.dtype in (np.float32, np.float64)
