"""The logistic output and the binary cross-entropy of its rows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types

from .elementary import like, sigmoid
from .jit import inner, overloads


@inner
def logistic_rows(a: Any, columns: int, y: Any) -> None:
    """The sigmoid of the first so many columns of each row, and zeros in the others."""
    for n in range(a.shape[0]):
        for k in range(columns):
            y[n, k] = sigmoid(a[n, k])
        for k in range(columns, y.shape[1]):
            y[n, k] = like(y[n, k], 0)


def spacing(x: Any) -> Any:
    """The spacing of the numbers of the type of `x` at 1; for compiled code only."""
    raise NotImplementedError


@overloads(spacing)
def _overload_spacing(x: Any) -> Any:
    epsilon = float(np.finfo(np.float32 if x == types.float32 else np.float64).eps)

    def constant(x: Any) -> Any:  # noqa: ARG001
        return epsilon

    return constant


@inner
def binary_loss(y: Any, t: float) -> float:
    """−t·log(y) − (1 − t)·log(1 − y) of one output, with y limited."""
    p, epsilon, loss = float(y), spacing(y), 0.0
    p = epsilon if p < epsilon else p
    p = 1 - epsilon if p > 1 - epsilon else p
    if t != 0:
        loss -= t * math.log(p)
    if t != 1:
        loss -= (1 - t) * math.log(1 - p)
    return loss


@inner
def binary_loss_of_row(y: Any, t: Any, outputs: int) -> float:
    """The loss of the probabilities `y` of a sample; and its targets are subtracted from them."""
    loss = 0.0
    for k in range(outputs):
        loss += binary_loss(y[k], float(t[k]))
        y[k] -= t[k]
    return loss


@inner
def binary_loss_of_label(y: Any, target: int, outputs: int) -> float:
    """The same of a label."""
    loss = 0.0
    for k in range(outputs):
        value = 1.0 if k == target else 0.0
        loss += binary_loss(y[k], value)
        y[k] -= like(y[k], value)
    return loss
