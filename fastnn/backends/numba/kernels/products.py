"""Products of dense matrices, narrow ones, for compiled code that goes on with them at once.

The BLAS is as fast on large matrices, but not on those of a small network: there a call, and what
it copies to suit itself, take as long as the products. Here four rows of the result stay in
registers while what they are the sum of is read: of each vector that is loaded four multiplications
are made, so that the multiplications are the bound.
"""

from __future__ import annotations

from typing import Any

from .elementary import like
from .jit import inner
from .vectors import SUMS, WIDE, lanes, load, store

#: How many rows of the result stay in registers.
ROWS = 4

#: Up to how many bytes a matrix with a row for each sample stays near while all of the other one is
#: gone through, and how many samples have their turn with that at a time where it is larger.
NEAR, SAMPLES = 2**18, 16


def by_width(blocks_of_width: Any) -> Any:
    """A function of rows of any number of vectors, from those of one, two and four vectors.

    Of so many only where the processor has registers for the sums of :data:`ROWS` rows of them.
    """
    counts = [max(1, min(count, SUMS // ROWS)) for count in (4, 2)]
    blocks = {count: blocks_of_width(count * WIDE) for count in {*counts, 1}}
    (first, second), (wide, middle), one = counts, (blocks[count] for count in counts), blocks[1]

    @inner
    def all_columns(result: Any, *arguments: Any) -> None:
        n, columns = lanes(result, WIDE), result.shape[1]
        j = 0
        while columns - j >= first * n:
            wide(j, result, *arguments)
            j += first * n
        while columns - j >= second * n:
            middle(j, result, *arguments)
            j += second * n
        while columns > j:
            one(j, result, *arguments)
            j += n

    return all_columns


@inner
def _at_a_time(of_samples: Any) -> int:
    """How many samples have their turn with the other matrix before the next ones."""
    near = of_samples.size * of_samples.itemsize <= NEAR
    return max(1, of_samples.shape[0]) if near else SAMPLES


def _product(width: int) -> Any:
    @inner
    def add(j: int, out: Any, x: Any, rows: Any, terms: int, W: Any) -> None:
        whole, zero = rows.size // 4 * 4, out[0, 0]
        for n in range(0, whole, 4):
            m0, m1, m2, m3 = rows[n], rows[n + 1], rows[n + 2], rows[n + 3]
            s0, s1 = load(out, (n, j), width), load(out, (n + 1, j), width)
            s2, s3 = load(out, (n + 2, j), width), load(out, (n + 3, j), width)
            for i in range(terms):
                w = load(W, (i, j), width)
                s0 = s0 + w * like(zero, x[m0, i])
                s1 = s1 + w * like(zero, x[m1, i])
                s2 = s2 + w * like(zero, x[m2, i])
                s3 = s3 + w * like(zero, x[m3, i])
            store(out, (n, j), s0)
            store(out, (n + 1, j), s1)
            store(out, (n + 2, j), s2)
            store(out, (n + 3, j), s3)
        for n in range(whole, rows.size):
            m, s = rows[n], load(out, (n, j), width)
            for i in range(terms):
                s = s + load(W, (i, j), width) * like(zero, x[m, i])
            store(out, (n, j), s)

    return add


_add_product = by_width(_product)


@inner
def add_product(x: Any, rows: Any, terms: int, W: Any, out: Any) -> None:
    """out[n] += Σ x[rows[n], i]·W[i] over i < terms; only x may be of another dtype."""
    at_a_time = _at_a_time(out)
    for first in range(0, rows.size, at_a_time):
        some = slice(first, min(first + at_a_time, rows.size))
        _add_product(out[some], x, rows[some], terms, W)


def _transposed_product(width: int) -> Any:
    @inner
    def subtract(j: int, W: Any, x: Any, rows: Any, low: int, high: int, rate: Any, d: Any) -> None:
        terms = high - low
        whole = terms // 4 * 4
        for i in range(0, whole, 4):
            first, k = load(d, (0, j), width), low + i
            m = rows[0]
            s0, s1, s2, s3 = (
                first * x[m, k],
                first * x[m, k + 1],
                first * x[m, k + 2],
                first * x[m, k + 3],
            )
            for n in range(1, rows.size):
                m, v = rows[n], load(d, (n, j), width)
                s0 = s0 + v * x[m, k]
                s1 = s1 + v * x[m, k + 1]
                s2 = s2 + v * x[m, k + 2]
                s3 = s3 + v * x[m, k + 3]
            store(W, (i, j), load(W, (i, j), width) - s0 * rate)
            store(W, (i + 1, j), load(W, (i + 1, j), width) - s1 * rate)
            store(W, (i + 2, j), load(W, (i + 2, j), width) - s2 * rate)
            store(W, (i + 3, j), load(W, (i + 3, j), width) - s3 * rate)
        for i in range(whole, terms):
            s = load(d, (0, j), width) * x[rows[0], low + i]
            for n in range(1, rows.size):
                s = s + load(d, (n, j), width) * x[rows[n], low + i]
            store(W, (i, j), load(W, (i, j), width) - s * rate)

    return subtract


_subtract_product = by_width(_transposed_product)


@inner
def subtract_product(x: Any, rows: Any, low: int, high: int, rate: Any, d: Any, W: Any) -> None:
    """W[i − low] -= rate · Σ x[rows[n], i]·d[n] over n, for each i from low to high − 1."""
    at_a_time = _at_a_time(d)
    for first in range(0, rows.size, at_a_time):
        some = slice(first, min(first + at_a_time, rows.size))
        _subtract_product(W, x, rows[some], low, high, rate, d[some])
