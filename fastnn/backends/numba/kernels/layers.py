"""A dense layer and its parameters, over dense or compressed samples.

The two kernels over compressed samples, which take most of the time of a step, can be called by
several threads at the same time, which share the work: :mod:`fastnn.backends.numba.threads`.
"""

from __future__ import annotations

from typing import Any

from .activations import activate, multiply_row_by_derivative
from .atomics import CALLER, FINISHED, increase, own_part, take_part, wait_for
from .helpers import shared
from .jit import kernel
from .sparse_products import subtract_outer_products, weighted_rows


@kernel
def add_bias_and_activate(a: Any, b: Any, activation: int) -> None:
    """a = f(a + b), in place, row by row."""
    for n in range(a.shape[0]):
        row = a[n]
        for j in range(b.size):
            row[j] += b[j]
        activate(row, activation)


@shared
def sparse_dense(
    thread: int,
    threads: int,
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    W: Any,
    b: Any,
    activation: int,
    out: Any,
) -> None:
    """f(x·W + b) into `out`, for rows x of the compressed samples. Parts are of the rows."""
    part = take_part(counters, own_part(thread, threads, parts), parts)
    while part < parts:
        first, end = rows.size * part // parts, rows.size * (part + 1) // parts
        weighted_rows(samples, rows, first, end, True, W, b, out)
        some = out[first:end]  # at once: rows of a few vectors are too short to be quick
        activate(some.reshape(some.size), activation)
        increase(counters, FINISHED)
        part = take_part(counters, part + 1, parts)
    if thread == CALLER:
        wait_for(counters, FINISHED, parts)


@shared
def sparse_descent(
    thread: int,
    threads: int,
    counters: Any,
    parts: int,
    samples: Any,
    rows: Any,
    delta: Any,
    rate: Any,
    fresh: bool,
    W: Any,
) -> None:
    """W -= rate·xᵀ·delta for rows x; the gradient is stored nowhere. Parts are of the features.

    If W is `fresh`, whatever is in it, it counts as zero.
    """
    part = take_part(counters, own_part(thread, threads, parts), parts)
    while part < parts:
        low, high = W.shape[0] * part // parts, W.shape[0] * (part + 1) // parts
        subtract_outer_products(
            samples, rows, low, high, False, fresh, rate, delta, W.shape[1], W[low:high], ()
        )
        increase(counters, FINISHED)
        part = take_part(counters, part + 1, parts)
    if thread == CALLER:
        wait_for(counters, FINISHED, parts)


@kernel
def bias_descent(delta: Any, rate: Any, b: Any) -> None:
    """b -= rate·Σ delta over the rows."""
    for n in range(delta.shape[0]):
        d = delta[n]
        for j in range(b.size):
            b[j] -= rate * d[j]


@kernel
def multiply_by_derivative(z: Any, activation: int, delta: Any) -> None:
    """Delta ⊙ f′ in place, row by row."""
    for n in range(z.shape[0]):
        multiply_row_by_derivative(z[n], activation, delta[n])
