"""The compiled loops behind the Numba backend, except for the numerical gradient's.

Each kernel is compiled at its first call for the types at hand, and cached on disk. The two over sparse samples, which take most of
the time of a step, can be called by several threads at the same time, which share the work: :mod:`fastnn.backends.numba.threads`.

What bounds those two is the traffic of rows of W between the second-level cache and the registers: a non-zero feature reads its row
in the forward pass, and reads and writes it in the update, for two operations on each number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ....functions import LOG_GUARD
from .atomics import increase, wait_for
from .elementary import FASTMATH, exp, like, prefetch, sigmoid, tanh
from .vectors import WIDE, convert, lanes, load, lowest_bit, nonzero, store

#: The activations as numbers, for compiled code.
ACTIVATION_CODES = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}

#: The bytes that come from memory at a time.
LINE = 64

#: How many exponentials are taken in one loop.
SOFTMAX_BLOCK = 1024

#: The counters of work that threads share: how many parts somebody has taken, and how many are finished.
TAKEN, FINISHED = 0, 1

#: What only compiled code calls is not given an entry point for Python, which would take longer to compile than the function.
inner = njit(fastmath=FASTMATH, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]

#: What Python calls is cached, and lets other Python threads run meanwhile.
kernel = njit(cache=True, fastmath=FASTMATH, error_model="numpy", nogil=True)


# -- a dense layer -----------------------------------------------------------------------------------------------------


@inner
def activate(z: Any, activation: int) -> None:
    """z = f(z), in place: of two arrays the compiled code would ask whether they overlap, and go one by one if they do."""
    if activation == 1:
        for j in range(z.size):
            z[j] = sigmoid(z[j])
    elif activation == 2:
        for j in range(z.size):
            z[j] = tanh(z[j])
    elif activation == 3:
        for j in range(z.size):
            z[j] = like(z[j], 0) if z[j] < 0 else z[j]


@kernel
def add_bias_and_activate(a: Any, b: Any, activation: int) -> None:
    """a = f(a + b), in place, row by row."""
    for n in range(a.shape[0]):
        row = a[n]
        for j in range(b.size):
            row[j] += b[j]
        activate(row, activation)


def _by_columns(blocks_of_columns: Any) -> Any:
    """A function of all columns of a matrix, from `blocks_of_columns(blocks, width)`: of some vectors of them, of some bytes each.

    That one is called with the first column of its first vector, and of its last: where the columns are no whole number of vectors,
    the last two overlap. Both are then to be read before one is written, so that both write the same.
    """
    one, two, three, four = (blocks_of_columns(n, WIDE) for n in (1, 2, 3, 4))
    half, two_halves = (blocks_of_columns(n, WIDE // 2) for n in (1, 2))
    quarter, two_quarters = (blocks_of_columns(n, WIDE // 4) for n in (1, 2))

    @inner
    def all_columns(W: Any, *arguments: Any) -> None:
        """For at least as many columns as are in a quarter of a vector."""
        n, columns = lanes(W, WIDE), W.shape[1]
        j, last = 0, columns - n
        if columns < n // 2:
            if columns == n // 4:
                quarter(0, 0, W, *arguments)
            else:
                two_quarters(0, columns - n // 4, W, *arguments)
        elif columns < n:
            if columns == n // 2:
                half(0, 0, W, *arguments)
            else:
                two_halves(0, columns - n // 2, W, *arguments)
        else:
            while columns - j > 5 * n:
                four(j, j + 3 * n, W, *arguments)
                j += 4 * n
            if columns - j > 4 * n:  # three and two: the last vector has none to overlap with but in its own call
                three(j, j + 2 * n, W, *arguments)
                j += 3 * n
            if columns - j > 3 * n:
                four(j, last, W, *arguments)
            elif columns - j > 2 * n:
                three(j, last, W, *arguments)
            elif columns - j > n:
                two(j, last, W, *arguments)
            else:
                one(j, last, W, *arguments)

    return all_columns


def _blocks_of_weighted_rows(blocks: int, width: int) -> Any:
    @inner
    def add(j: int, last: int, W: Any, b: Any, indices: Any, values: Any, out: Any) -> None:
        zero, second, third = out[0], j + lanes(W, width), j + 2 * lanes(W, width)
        end = convert(load(b, last, width), zero)
        if blocks > 1:
            z0 = convert(load(b, j, width), zero)
        if blocks > 2:
            z1 = convert(load(b, second, width), zero)
        if blocks > 3:
            z2 = convert(load(b, third, width), zero)
        for s in range(indices.size):
            i, v = indices[s], like(zero, values[s])
            if blocks > 1:
                z0 = z0 + convert(load(W, (i, j), width), zero) * v
            if blocks > 2:
                z1 = z1 + convert(load(W, (i, second), width), zero) * v
            if blocks > 3:
                z2 = z2 + convert(load(W, (i, third), width), zero) * v
            end = end + convert(load(W, (i, last), width), zero) * v
        if blocks > 1:
            store(out, j, z0)
        if blocks > 2:
            store(out, second, z1)
        if blocks > 3:
            store(out, third, z2)
        store(out, last, end)

    return add


_weighted_rows_by_vectors = _by_columns(_blocks_of_weighted_rows)


@inner
def weighted_rows(indices: Any, values: Any, W: Any, b: Any, out: Any) -> None:
    """b + Σ values[s]·W[indices[s]] into `out`, summed in its dtype."""
    if b.size >= lanes(W, WIDE // 4):
        _weighted_rows_by_vectors(W, b, indices, values, out)
        return
    for j in range(b.size):
        out[j] = b[j]
        for s in range(indices.size):
            out[j] += like(out[0], values[s]) * W[indices[s], j]


@inner
def prefetch_row(samples: Any, rows: Any, n: int) -> None:
    """Ask for the values of row number n to come: rows are drawn at random from all of memory."""
    if n < rows.size:
        indptr, indices, values = samples
        for s in range(indptr[rows[n]], indptr[rows[n] + 1], LINE // values.itemsize):
            prefetch(values[s:])
        for s in range(indptr[rows[n]], indptr[rows[n] + 1], LINE // indices.itemsize):
            prefetch(indices[s:])


@kernel
def sparse_dense(counters: Any, parts: int, samples: Any, rows: Any, W: Any, b: Any, activation: int, out: Any) -> None:
    """Gather rows of the sparse samples (indptr, indices, values), and f(x·W + b) of them into `out`; parts are of the rows."""
    indptr, indices, values = samples
    while True:
        part = increase(counters, TAKEN)
        if part >= parts:
            break
        for n in range(rows.size * part // parts, rows.size * (part + 1) // parts):
            prefetch_row(samples, rows, n + 2)
            z = out[n]
            begin, end = indptr[rows[n]], indptr[rows[n] + 1]
            weighted_rows(indices[begin:end], values[begin:end], W, b, z)
            activate(z, activation)
        increase(counters, FINISHED)
    wait_for(counters, FINISHED, parts)


# -- its parameters ----------------------------------------------------------------------------------------------------


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


def _blocks_of_outer_product(blocks: int, width: int) -> Any:
    @inner
    def subtract(j: int, last: int, W: Any, indices: Any, values: Any, rate: Any, d: Any) -> None:
        second, third = j + lanes(W, width), j + 2 * lanes(W, width)
        d3 = load(d, last, width)
        if blocks > 1:
            d0 = load(d, j, width)
        if blocks > 2:
            d1 = load(d, second, width)
        if blocks > 3:
            d2 = load(d, third, width)
        for s in range(indices.size):
            i, step = indices[s], rate * values[s]
            w3 = load(W, (i, last), width) - d3 * step
            if blocks > 1:
                w0 = load(W, (i, j), width) - d0 * step
            if blocks > 2:
                w1 = load(W, (i, second), width) - d1 * step
            if blocks > 3:
                w2 = load(W, (i, third), width) - d2 * step
            if blocks > 1:
                store(W, (i, j), w0)
            if blocks > 2:
                store(W, (i, second), w1)
            if blocks > 3:
                store(W, (i, third), w2)
            store(W, (i, last), w3)

    return subtract


_outer_product_by_vectors = _by_columns(_blocks_of_outer_product)


@inner
def subtract_outer_product(indices: Any, values: Any, rate: Any, d: Any, W: Any) -> None:
    """W[indices[s]] -= rate·values[s]·d for each s."""
    if d.size >= lanes(W, WIDE // 4):
        _outer_product_by_vectors(W, indices, values, rate, d)
        return
    for s in range(indices.size):
        for j in range(d.size):
            W[indices[s], j] -= rate * values[s] * d[j]


@kernel
def sparse_descent(counters: Any, parts: int, samples: Any, rows: Any, delta: Any, rate: Any, W: Any) -> None:
    """W -= rate·xᵀ·delta for rows x of the sparse samples; the gradient is stored nowhere. Parts are of the features."""
    indptr, indices, values = samples
    while True:
        part = increase(counters, TAKEN)
        if part >= parts:
            break
        first, last = W.shape[0] * part // parts, W.shape[0] * (part + 1) // parts
        for n in range(rows.size):
            begin, end = indptr[rows[n]], indptr[rows[n] + 1]
            if parts > 1:
                begin = first_at_least(indices, begin, end, first)
                end = first_at_least(indices, begin, end, last)
            subtract_outer_product(indices[begin:end], values[begin:end], rate, delta[n], W)
        increase(counters, FINISHED)
    wait_for(counters, FINISHED, parts)


@kernel
def bias_descent(delta: Any, rate: Any, b: Any) -> None:
    """b -= rate·Σ delta over the rows."""
    for n in range(delta.shape[0]):
        d = delta[n]
        for j in range(b.size):
            b[j] -= rate * d[j]


@inner
def multiply_row_by_derivative(z: Any, activation: int, d: Any) -> None:
    """D ⊙ f′ in place for one row, with f′ expressed in the activation's output `z`."""
    if activation == 1:
        for j in range(z.size):
            d[j] *= z[j] * (like(z[j], 1) - z[j])
    elif activation == 2:
        for j in range(z.size):
            d[j] *= like(z[j], 1) - z[j] * z[j]
    elif activation == 3:
        for j in range(z.size):
            d[j] = d[j] if z[j] > 0 else like(z[j], 0)


@kernel
def multiply_by_derivative(z: Any, activation: int, delta: Any) -> None:
    """Delta ⊙ f′ in place, row by row."""
    for n in range(z.shape[0]):
        multiply_row_by_derivative(z[n], activation, delta[n])


# -- softmax and cross-entropy -----------------------------------------------------------------------------------------


@inner
def softmax_rows(a: Any, columns: int, y: Any) -> None:
    """The softmax of the first so many columns of each row, and zeros in the others; `y` may be `a`, and is contiguous."""
    # Exponentials are as quick as vectors are full, so several short rows are taken at a time.
    for first in range(0, a.shape[0], max(1, SOFTMAX_BLOCK // a.shape[1])):
        end = min(first + max(1, SOFTMAX_BLOCK // a.shape[1]), a.shape[0])
        for n in range(first, end):
            highest = a[n, 0]
            for k in range(1, columns):
                highest = max(highest, a[n, k])
            for k in range(columns):
                y[n, k] = a[n, k] - highest
        block = y[first:end].reshape((end - first) * y.shape[1])
        for s in range(block.size):
            block[s] = exp(block[s])
        for n in range(first, end):
            total = like(y[n, 0], 0)
            for k in range(columns):
                total += y[n, k]
            factor = like(total, 1) / total
            for k in range(columns):
                y[n, k] *= factor
            for k in range(columns, y.shape[1]):
                y[n, k] = like(total, 0)


@kernel
def softmax(logits: Any, out: Any) -> None:
    """The softmax of each row."""
    softmax_rows(logits, logits.shape[1], out)


@inner
def row_loss(y: Any, t: Any) -> float:
    """−Σ t·log(y + 1e-7) of one row: the target is a label or a row. A one-hot row gives what its label gives."""
    total = 0.0
    for k in range(y.size):
        if t[k] != 0:
            total -= t[k] * math.log(y[k] + LOG_GUARD)
    return total


@kernel
def cross_entropy_of_labels(y: Any, t: Any) -> float:
    """The mean over the rows of −log(y + 1e-7) at the label."""
    total = 0.0
    for n in range(y.shape[0]):
        total -= math.log(y[n, t[n]] + LOG_GUARD)
    return total / y.shape[0]


@kernel
def cross_entropy_of_targets(y: Any, t: Any) -> float:
    """The mean over the rows of −Σ t·log(y + 1e-7)."""
    total = 0.0
    for n in range(y.shape[0]):
        total += row_loss(y[n], t[n])
    return total / y.shape[0]


@kernel
def softmax_cross_entropy_of_labels(logits: Any, t: Any, out: Any) -> float:
    """The loss of the logits; into `out` its derivative (y − t) / rows."""
    total, share = 0.0, like(logits[0, 0], 1 / logits.shape[0])
    softmax_rows(logits, logits.shape[1], out)
    for n in range(logits.shape[0]):
        y = out[n]
        total -= math.log(y[t[n]] + LOG_GUARD)
        y[t[n]] -= like(share, 1)
        for k in range(y.size):
            y[k] *= share
    return total / logits.shape[0]


@kernel
def softmax_cross_entropy_of_targets(logits: Any, t: Any, out: Any) -> float:
    """The loss of the logits; into `out` its derivative (y − t) / rows."""
    total, share = 0.0, like(logits[0, 0], 1 / logits.shape[0])
    softmax_rows(logits, logits.shape[1], out)
    for n in range(logits.shape[0]):
        y, target = out[n], t[n]
        total += row_loss(y, target)
        for k in range(y.size):
            y[k] = (y[k] - target[k]) * share
    return total / logits.shape[0]


# -- sparse samples ----------------------------------------------------------------------------------------------------


@kernel
def compress(x: Any, indptr: Any, indices: Any, values: Any) -> None:
    """The non-zero values of a 2-D array row by row, as in scipy.sparse.csr_array; there must be room for one more value."""
    s, step = 0, lanes(x, WIDE)
    whole, full = x.shape[1] // step * step, (np.uint64(1) << np.uint64(step)) - np.uint64(1)
    for n in range(x.shape[0]):
        indptr[n] = s
        for i in range(0, whole, step):
            vector = load(x, (n, i), WIDE)
            bits = nonzero(vector)
            if bits == full:
                store(values, s, vector)
                for k in range(step):
                    indices[s + k] = i + k
                s += step
            else:
                while bits:
                    indices[s] = i + np.intp(lowest_bit(bits))
                    values[s] = x[n, indices[s]]
                    s += 1
                    bits &= bits - np.uint64(1)
        for i in range(whole, x.shape[1]):
            # Always written, and kept by moving on: quicker than asking, as zeros come and go.
            indices[s] = i
            values[s] = x[n, i]
            s += x[n, i] != 0
    indptr[x.shape[0]] = s
