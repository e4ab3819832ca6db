"""Sums of first·x + third·x³ over samples: matrix products with twice as many rows.

Nothing of this is shared with the products of backpropagation, which it is to check.
"""

from __future__ import annotations

from typing import Any

from .compression import first_at_least
from .elementary import like
from .jit import inner
from .vectors import WIDE, element, lanes, load, store

#: How many bytes of the sums have their turn at a time with all samples: what the first-level cache
#: holds, with what is not among the features of the samples.
NEAR = 72 * 1024


def _blocks_of_vectors(blocks: int) -> Any:
    @inner
    def add(
        j: int,
        samples: Any,
        rows: Any,
        first: int,
        last: int,
        left: Any,
        begins: Any,
        factor: Any,
        F1: Any,
        F3: Any,
        total: Any,
    ) -> None:
        indptr, indices, values = samples
        columns, step, flat = total.shape[1], lanes(total, WIDE), total.reshape(total.size)
        own, second, third, fourth = flat[j:], j + step, j + 2 * step, j + 3 * step
        near = max(1, NEAR // (blocks * WIDE))
        parts = (last - first + near - 1) // near
        for part in range(parts):
            beyond = first + (last - first) * (part + 1) // parts
            for n in range(rows.size):
                if left[n]:
                    continue
                stop = element(indptr, rows[n] + 1)
                if part > 0:
                    s = element(begins, n)
                else:
                    s = first_at_least(indices, element(indptr, rows[n]), stop, first)
                f0, g0 = load(F1, (n, j), WIDE), load(F3, (n, j), WIDE)
                if blocks > 1:
                    f1, g1 = load(F1, (n, second), WIDE), load(F3, (n, second), WIDE)
                if blocks > 2:
                    f2, g2 = load(F1, (n, third), WIDE), load(F3, (n, third), WIDE)
                if blocks > 3:
                    f3, g3 = load(F1, (n, fourth), WIDE), load(F3, (n, fourth), WIDE)
                while s < stop and element(indices, s) < beyond:
                    w, x = (
                        (element(indices, s) - first) * columns,
                        like(flat[0], element(values, s)),
                    )
                    square, x = x * x, x * factor
                    t0 = load(own, w, WIDE) + (f0 + g0 * square) * x
                    if blocks > 1:
                        t1 = load(own, w + step, WIDE) + (f1 + g1 * square) * x
                    if blocks > 2:
                        t2 = load(own, w + 2 * step, WIDE) + (f2 + g2 * square) * x
                    if blocks > 3:
                        t3 = load(own, w + 3 * step, WIDE) + (f3 + g3 * square) * x
                    store(own, w, t0)
                    if blocks > 1:
                        store(own, w + step, t1)
                    if blocks > 2:
                        store(own, w + 2 * step, t2)
                    if blocks > 3:
                        store(own, w + 3 * step, t3)
                    s += 1
                begins[n] = s

    return add


_one, _two, _three, _four = map(_blocks_of_vectors, (1, 2, 3, 4))


@inner
def add_hidden_powers(
    samples: Any,
    rows: Any,
    first: int,
    last: int,
    left: Any,
    begins: Any,
    factor: Any,
    F1: Any,
    F3: Any,
    total: Any,
) -> None:
    """Add `factor` times those for the weights from the features first … last − 1.

    The samples are compressed rows; the rows of `total`, for each of these features, are of whole
    vectors. Samples that are `left` count for nothing: their cubes may be infinite. `begins` is
    space for a number of each sample.
    """
    j, n = 0, lanes(total, WIDE)
    sums = samples, rows, first, last, left, begins, factor, F1, F3, total
    while total.shape[1] - j >= 4 * n:
        _four(j, *sums)
        j += 4 * n
    if total.shape[1] - j == 3 * n:
        _three(j, *sums)
    elif total.shape[1] - j == 2 * n:
        _two(j, *sums)
    elif total.shape[1] - j == n:
        _one(j, *sums)


@inner
def add_hidden_bias_powers(left: Any, factor: Any, F1: Any, F3: Any, total: Any) -> None:
    """The same of their biases, which are the weights of a feature with the value 1."""
    for n in range(left.size):
        if not left[n]:
            for j in range(total.size):
                total[j] += factor * (F1[n, j] + F3[n, j])


@inner
def add_output_powers(
    first: int, last: int, left: Any, z: Any, outputs1: Any, outputs3: Any, total: Any
) -> None:
    """Add them for the weights into the outputs first … last − 1, with the hidden units as x."""
    for k in range(first, last):
        for j in range(0, z.shape[1], lanes(z, WIDE)):
            s = load(total, (k, j), WIDE)
            for n in range(z.shape[0]):
                if not left[n]:
                    x = load(z, (n, j), WIDE)
                    s = s + (x * x * outputs3[n, k] + outputs1[n, k]) * x
            store(total, (k, j), s)


@inner
def add_output_bias_powers(
    first: int, last: int, left: Any, outputs1: Any, outputs3: Any, total: Any
) -> None:
    """The same of the biases of the outputs, into the first of each row."""
    for n in range(left.size):
        if not left[n]:
            for k in range(first, last):
                total[k, 0] += outputs1[n, k] + outputs3[n, k]
