"""The softmax and the cross-entropy of its rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ....functions import LOG_GUARD
from .elementary import exp, like
from .jit import inner, kernel

#: How many exponentials are taken in one loop.
SOFTMAX_BLOCK = 1024


@inner
def softmax_rows(a: Any, columns: int, y: Any) -> None:
    """The softmax of the first so many columns of each row, and zeros in the others.

    `y` is contiguous, and may be `a`.
    """
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


@inner
def label(t: Any, n: int, classes: int) -> int:
    """Label n; 0 in place of one out of range, to which another thread may have changed it."""
    k: Any = np.intp(t[n])  # one number, also if it changes again
    return k if 0 <= k < classes else 0


@kernel
def softmax(logits: Any, out: Any) -> None:
    """The softmax of each row."""
    softmax_rows(logits, logits.shape[1], out)


@inner
def row_loss(y: Any, t: Any) -> float:
    """−Σ t·log(y + 1e-7) of one row. A one-hot row gives exactly what its label gives."""
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
        total -= math.log(y[n, label(t, n, y.shape[1])] + LOG_GUARD)
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
        y, target = out[n], label(t, n, out.shape[1])
        total -= math.log(y[target] + LOG_GUARD)
        y[target] -= like(share, 1)
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
