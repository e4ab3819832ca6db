"""The compiled loops behind the Numba backend. Each is compiled at its first call and cached on disk."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from ..functions import LOG_GUARD

ACTIVATION_CODES = {"identity": 0, "sigmoid": 1, "tanh": 2, "relu": 3}


@njit(cache=True, error_model="numpy")
def dense(x: Any, W: Any, b: Any, activation: int, out: Any) -> None:
    """activation(x·W + b) into `out`, row by row; features that are zero, most of MNIST's, cost nothing."""
    for n in range(x.shape[0]):
        row = out[n]
        row[:] = b
        for i in range(x.shape[1]):
            value = x[n, i]
            if value != 0:
                for j in range(W.shape[1]):
                    row[j] += value * W[i, j]
        if activation == 1:
            for j in range(row.size):
                row[j] = 1 / (1 + math.exp(-row[j]))
        elif activation == 2:
            for j in range(row.size):
                row[j] = math.tanh(row[j])
        elif activation == 3:
            for j in range(row.size):
                row[j] = max(row[j], 0)


@njit(cache=True, error_model="numpy")
def softmax(logits: Any, out: Any) -> None:
    """Softmax of each row into `out`."""
    for n in range(logits.shape[0]):
        highest = logits[n, 0]
        for k in range(1, logits.shape[1]):
            highest = max(highest, logits[n, k])
        total = logits.dtype.type(0)
        for k in range(logits.shape[1]):
            out[n, k] = math.exp(logits[n, k] - highest)
            total += out[n, k]
        for k in range(logits.shape[1]):
            out[n, k] /= total


@njit(cache=True, error_model="numpy")
def cross_entropy_labels(y: Any, t: Any) -> Any:
    """Mean over the rows of −log(y + 1e-7) at the label."""
    guard = y.dtype.type(LOG_GUARD)
    total = y.dtype.type(0)
    for n in range(y.shape[0]):
        total -= math.log(y[n, t[n]] + guard)
    return total / y.shape[0]


@njit(cache=True, error_model="numpy")
def cross_entropy_targets(y: Any, t: Any) -> Any:
    """Mean over the rows of −Σ t · log(y + 1e-7)."""
    guard = y.dtype.type(LOG_GUARD)
    total = y.dtype.type(0)
    for n in range(y.shape[0]):
        for k in range(y.shape[1]):
            total -= t[n, k] * math.log(y[n, k] + guard)
    return total / y.shape[0]
