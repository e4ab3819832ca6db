"""Samples as compressed rows (CSR): how they are made, brought near, and searched."""

from __future__ import annotations

from typing import Any

import numpy as np

from .elementary import bits, from_bits, like
from .jit import allocating_kernel, inner, kernel
from .vectors import COMPRESSES, WIDE, element, lanes, load, prefetch, store_nonzero

#: The bytes that come from memory at a time.
LINE = 64


@allocating_kernel
def compress(x: Any, indptr: Any, indices: Any, values: Any) -> float:
    """The non-zero values of a 2-D array row by row, as in scipy.sparse.csr_array.

    They may become another floating dtype. The result is the largest of their absolute values, NaN
    if there is one; what is beyond the range of the dtype has become infinite. There must be room
    for one more row and vector of values; the result is -1 where there is not, because another
    thread has changed the array since they were counted.
    """
    s, step, most = 0, lanes(x, WIDE), bits(like(values[0], 0))
    whole = x.shape[1] // step * step if COMPRESSES else 0
    # Of a row:
    found, numbers = np.empty(x.shape[1] + step, x.dtype), np.empty(x.shape[1] + step, np.uint32)
    for n in range(x.shape[0]):
        indptr[n] = s
        if s + x.shape[1] + step > values.size:  # whatever this row holds
            return -1.0
        count = 0
        for i in range(0, whole, step):
            count += store_nonzero(load(x, (n, i), WIDE), i, found, numbers, count)
        for i in range(whole, x.shape[1]):
            # Always written, and kept by moving on: quicker than asking, as zeros come and go.
            numbers[count] = i
            found[count] = x[n, i]
            count += x[n, i] != 0
        kept, own = values[s : s + count], indices[s : s + count]
        for k in range(count):
            own[k] = numbers[k]
        for k in range(count):
            kept[k] = found[k]
            most = max(most, bits(abs(kept[k])))
        s += count
    indptr[x.shape[0]] = s
    return from_bits(most)


@kernel
def count_nonzero(x: Any, step: int) -> int:
    """How many values of every step-th row of a 2-D array are not zero."""
    count = 0
    for n in range(0, x.shape[0], step):
        for i in range(x.shape[1]):
            count += x[n, i] != 0
    return count


@inner
def prefetch_row(samples: Any, rows: Any, n: int) -> None:
    """Ask for the values of row number n to come: rows are drawn at random from all of memory.

    Where one follows the other they come by themselves.
    """
    if n < rows.size and (n == 0 or element(rows, n) != element(rows, n - 1) + 1):
        indptr, indices, values = samples
        row = element(rows, n)
        begin, end = element(indptr, row), element(indptr, row + 1)
        for s in range(begin, end, LINE // values.itemsize):
            prefetch(values, s)
        for s in range(begin, end, LINE // indices.itemsize):
            prefetch(indices, s)


@inner
def first_at_least(sorted_values: Any, begin: int, end: int, value: int) -> int:
    """The first position from `begin` to `end` whose value is at least `value`, by bisection."""
    while begin < end:
        middle = (begin + end) // 2
        if sorted_values[middle] < value:
            begin = middle + 1
        else:
            end = middle
    return begin
