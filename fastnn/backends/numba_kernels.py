"""The compiled loops behind the Numba backend, except for the numerical gradient's.

Each kernel is compiled at its first call for the types at hand, and cached on disk. The two over sparse samples, which take most of
the time of a step, do one part of the work in a call, so that several threads can share it.

What bounds those two is the traffic of rows of W between the second-level cache and the registers: a non-zero feature reads its row
in the forward pass, and reads and writes it in the update, for two operations on each number.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from ..functions import LOG_GUARD
from .numba_math import FASTMATH, exp, like, prefetch, sigmoid, tanh

#: The activations as numbers, for compiled code.
ACTIVATION_CODES = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}

#: The bytes that come from memory at a time.
LINE = 64

#: What only compiled code calls is not given an entry point for Python, which would take longer to compile than the function.
inner = njit(fastmath=FASTMATH, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]

#: What Python calls is cached, and lets other Python threads run meanwhile.
kernel = njit(cache=True, fastmath=FASTMATH, error_model="numpy", nogil=True)


# -- a dense layer -----------------------------------------------------------------------------------------------------


@inner
def apply_activation(a: Any, activation: int, z: Any) -> None:
    """z = f(a) for one row; `z` may be `a`."""
    if activation == 1:
        for j in range(a.size):
            z[j] = sigmoid(a[j])
    elif activation == 2:
        for j in range(a.size):
            z[j] = tanh(a[j])
    elif activation == 3:
        for j in range(a.size):
            z[j] = like(a[j], 0) if a[j] < 0 else a[j]
    else:
        for j in range(a.size):
            z[j] = a[j]


@kernel
def add_bias_and_activate(a: Any, b: Any, activation: int) -> None:
    """a = f(a + b), in place, row by row."""
    for n in range(a.shape[0]):
        row = a[n]
        for j in range(b.size):
            row[j] += b[j]
        apply_activation(row, activation, row)


@inner
def add_rows(indices: Any, values: Any, W: Any, out: Any) -> None:
    """Add Σ values[s]·W[indices[s]] to `out`, in its dtype; seven rows at a time, so that it is read less often."""
    whole = indices.size // 7 * 7
    zero = out[0]
    for s in range(0, whole, 7):
        v0, v1, v2, v3 = like(zero, values[s]), like(zero, values[s + 1]), like(zero, values[s + 2]), like(zero, values[s + 3])
        v4, v5, v6 = like(zero, values[s + 4]), like(zero, values[s + 5]), like(zero, values[s + 6])
        w0, w1, w2, w3 = W[indices[s]], W[indices[s + 1]], W[indices[s + 2]], W[indices[s + 3]]
        w4, w5, w6 = W[indices[s + 4]], W[indices[s + 5]], W[indices[s + 6]]
        for j in range(w0.size):
            total = ((out[j] + v0 * w0[j]) + v1 * w1[j]) + v2 * w2[j]
            out[j] = (((total + v3 * w3[j]) + v4 * w4[j]) + v5 * w5[j]) + v6 * w6[j]
    for s in range(whole, indices.size):
        v0, w0 = like(zero, values[s]), W[indices[s]]
        for j in range(w0.size):
            out[j] += v0 * w0[j]


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
def sparse_dense(part: int, parts: int, samples: Any, rows: Any, W: Any, b: Any, activation: int, out: Any) -> None:
    """Gather rows of the sparse samples (indptr, indices, values), and f(x·W + b) of them into `out`; parts are of the rows."""
    indptr, indices, values = samples
    first, last = rows.size * part // parts, rows.size * (part + 1) // parts
    for n in range(first, last):
        prefetch_row(samples, rows, n + 2)
        z = out[n]
        for j in range(b.size):
            z[j] = b[j]
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        add_rows(indices[begin:end], values[begin:end], W, z)
        apply_activation(z, activation, z)


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


@kernel
def sparse_descent(part: int, parts: int, samples: Any, rows: Any, delta: Any, rate: Any, W: Any) -> None:
    """W -= rate·xᵀ·delta for rows x of the sparse samples; the gradient is stored nowhere. Parts are of the features."""
    indptr, indices, values = samples
    first, last = W.shape[0] * part // parts, W.shape[0] * (part + 1) // parts
    for n in range(rows.size):
        d = delta[n]
        begin, end = indptr[rows[n]], indptr[rows[n] + 1]
        if parts > 1:
            begin = first_at_least(indices, begin, end, first)
            end = first_at_least(indices, begin, end, last)
        for s in range(begin, end):
            w, step = W[indices[s]], rate * values[s]
            for j in range(d.size):
                w[j] -= step * d[j]


@kernel
def bias_descent(delta: Any, rate: Any, b: Any) -> None:
    """b -= rate·Σ delta over the rows."""
    for n in range(delta.shape[0]):
        d = delta[n]
        for j in range(b.size):
            b[j] -= rate * d[j]


@kernel
def multiply_by_derivative(z: Any, activation: int, delta: Any) -> None:
    """Delta ⊙ f′ in place, with f′ expressed in the activation's output `z`."""
    for n in range(z.shape[0]):
        row, d = z[n], delta[n]
        if activation == 1:
            for j in range(row.size):
                d[j] *= row[j] * (like(row[j], 1) - row[j])
        elif activation == 2:
            for j in range(row.size):
                d[j] *= like(row[j], 1) - row[j] * row[j]
        elif activation == 3:
            for j in range(row.size):
                d[j] = d[j] if row[j] > 0 else like(row[j], 0)


# -- softmax and cross-entropy -----------------------------------------------------------------------------------------


@inner
def softmax_row(a: Any, y: Any) -> None:
    """The softmax of one row; `y` may be `a`."""
    highest = a[0]
    for k in range(1, a.size):
        highest = max(highest, a[k])
    for k in range(a.size):
        y[k] = exp(a[k] - highest)
    total = like(highest, 0)
    for k in range(a.size):
        total += y[k]
    factor = like(highest, 1) / total
    for k in range(a.size):
        y[k] *= factor


@kernel
def softmax(logits: Any, out: Any) -> None:
    """The softmax of each row."""
    for n in range(logits.shape[0]):
        softmax_row(logits[n], out[n])


@inner
def _row_loss(y: Any, t: Any) -> float:
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
        total += _row_loss(y[n], t[n])
    return total / y.shape[0]


@kernel
def softmax_cross_entropy_of_labels(logits: Any, t: Any, out: Any) -> float:
    """The loss of the logits; into `out` its derivative (y − t) / rows."""
    total, share = 0.0, like(logits[0, 0], 1 / logits.shape[0])
    for n in range(logits.shape[0]):
        y = out[n]
        softmax_row(logits[n], y)
        total -= math.log(y[t[n]] + LOG_GUARD)
        y[t[n]] -= like(share, 1)
        for k in range(y.size):
            y[k] *= share
    return total / logits.shape[0]


@kernel
def softmax_cross_entropy_of_targets(logits: Any, t: Any, out: Any) -> float:
    """The loss of the logits; into `out` its derivative (y − t) / rows."""
    total, share = 0.0, like(logits[0, 0], 1 / logits.shape[0])
    for n in range(logits.shape[0]):
        y, target = out[n], t[n]
        softmax_row(logits[n], y)
        total += _row_loss(y, target)
        for k in range(y.size):
            y[k] = (y[k] - target[k]) * share
    return total / logits.shape[0]


# -- sparse samples ----------------------------------------------------------------------------------------------------


@kernel
def compress(x: Any, indptr: Any, indices: Any, values: Any) -> None:
    """The non-zero values of a 2-D array row by row, as in scipy.sparse.csr_array; there must be room for one more value."""
    s = 0
    for n in range(x.shape[0]):
        indptr[n] = s
        for i in range(x.shape[1]):
            # Always written, and kept by moving on: quicker than asking, as zeros come and go.
            indices[s] = i
            values[s] = x[n, i]
            s += x[n, i] != 0
    indptr[x.shape[0]] = s
