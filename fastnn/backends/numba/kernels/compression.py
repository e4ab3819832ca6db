"""Samples as compressed rows (CSR): how they are made, brought near, and searched."""

from __future__ import annotations

from typing import Any

from .jit import inner, kernel
from .vectors import COMPRESSES, WIDE, any_nonzero, element, lanes, load, prefetch, store_nonzero

#: The bytes that come from memory at a time.
LINE = 64


@kernel
def compress(x: Any, indptr: Any, indices: Any, values: Any) -> bool:
    """The non-zero values of a 2-D array row by row, as in scipy.sparse.csr_array.

    There must be room for one more row and vector of values. False where there is not, because
    another thread has changed the array since they were counted.
    """
    s, step = 0, lanes(x, WIDE)
    whole = x.shape[1] // step * step
    for n in range(x.shape[0]):
        indptr[n] = s
        if s + x.shape[1] + step > values.size:  # whatever this row holds
            return False
        for i in range(0, whole, step):
            vector = load(x, (n, i), WIDE)
            # A branch that is hard to predict takes longer than the instruction, but not than many.
            if COMPRESSES or any_nonzero(vector):
                s += store_nonzero(vector, i, values, indices, s)
        for i in range(whole, x.shape[1]):
            # Always written, and kept by moving on: quicker than asking, as zeros come and go.
            indices[s] = i
            values[s] = x[n, i]
            s += x[n, i] != 0
    indptr[x.shape[0]] = s
    return True


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
    if n < rows.size and element(rows, n) != element(rows, n - 1) + 1:
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
