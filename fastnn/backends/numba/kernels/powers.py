"""Sums of first·x + third·x³ over samples: matrix products with twice as many rows.

Nothing of this is shared with the products of backpropagation, which it is to check.
"""

from __future__ import annotations

from typing import Any

from .columns import PaddedColumns
from .compression import first_at_least
from .elementary import like
from .jit import inner, separate
from .vectors import WIDE, element, lanes, load, store

#: How many bytes of the sums have their turn at a time with all samples: what the first-level cache
#: holds, with what is not among the features of the samples.
NEAR = 72 * 1024


def _blocks_of_vectors(blocks: int, width: int, last_width: int | None = None) -> Any:
    near, before, last_width = NEAR // (blocks * width), (blocks - 1) * width, last_width or width

    def add(
        j: int,
        last: int,
        total: Any,
        samples: Any,
        rows: Any,
        low: int,
        high: int,
        left: Any,
        begins: Any,
        factor: Any,
        F1: Any,
        F3: Any,
    ) -> None:
        indptr, indices, values = samples
        columns, flat = total.shape[1], total.reshape(total.size)
        own, right = flat[j:], flat[last:]
        parts = (high - low + near - 1) // near
        for part in range(parts):
            beyond = low + (high - low) * (part + 1) // parts
            for n in range(rows.size):
                if left[n]:
                    continue
                stop = element(indptr, rows[n] + 1)
                if part > 0:
                    s = element(begins, n)
                else:
                    s = first_at_least(indices, element(indptr, rows[n]), stop, low)
                f, g = load(F1, (n, last), last_width), load(F3, (n, last), last_width)
                if blocks > 1:
                    f0, g0 = load(F1, (n, j), before), load(F3, (n, j), before)
                while s < stop and element(indices, s) < beyond:
                    w, x = (
                        (element(indices, s) - low) * columns,
                        like(flat[0], element(values, s)),
                    )
                    square, x = x * x, x * factor
                    if blocks > 1:
                        store(own, w, load(own, w, before) + (f0 + g0 * square) * x)
                    store(right, w, load(right, w, last_width) + (f + g * square) * x)
                    s += 1
                begins[n] = s

    return add


HIDDEN_POWERS = PaddedColumns(_blocks_of_vectors)
_add = HIDDEN_POWERS.all


@separate
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
    used: int,
    total: Any,
    pointers: Any,
) -> None:
    """Add `factor` times those for the weights from the features first … last − 1.

    The samples are compressed rows; the rows of `total`, for each of these features, are of whole
    vectors, of which the first so many numbers are `used`. Samples that are `left` count for
    nothing: their cubes may be infinite. `begins` is space for a number of each sample. The
    pointers are those to HIDDEN_POWERS.
    """
    _add(pointers, used, total, samples, rows, first, last, left, begins, factor, F1, F3)


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
