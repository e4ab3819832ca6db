"""What scikit-learn's networks minimise: losses of samples, their weighted mean, and a penalty.

Of a batch with the weights wᵢ, each 1 where there are none, that is

    Σ wᵢ·lossᵢ / Σ wᵢ + alpha/2 · Σ W² / Σ wᵢ

with the sum Σ W² over the weights of both layers, not over the biases. The step goes against
wᵢ·(yᵢ − tᵢ) / Σ wᵢ at the logits, whichever loss it is, and alpha · W / Σ wᵢ. Of a squared error of
several outputs that is the derivative of their sum, and the loss is their mean.

Unlike the losses of :mod:`fastnn.functions.losses` these clip a probability to [ε, 1 − ε], ε of its
dtype, where the book adds 1e-7.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..validation import Array


def _clipped(xp: Any, y: Array) -> Array:
    guard = xp.finfo(y.dtype).eps
    return xp.clip(y, guard, 1 - guard)


def log_loss(xp: Any, y: Array, t: Array) -> Array:
    """−Σ t·log y of each sample."""
    return -xp.sum(t * xp.log(_clipped(xp, y)), axis=1)


def binary_log_loss(xp: Any, y: Array, t: Array) -> Array:
    """−Σ (t·log y + (1 − t)·log(1 − y)) of each sample, over its independent outputs."""
    y = _clipped(xp, y)
    return -xp.sum(t * xp.log(y) + (1 - t) * xp.log(1 - y), axis=1)


def squared_error(xp: Any, y: Array, t: Array) -> Array:
    """½·(y − t)² of each sample, the mean over its outputs."""
    difference = y - t
    return xp.sum(difference * difference, axis=1) / (2 * y.shape[1])


#: The loss of each sample, (xp, y, t) → (samples,), by the loss of the network that has the outputs
#: y. Targets are rows.
OBJECTIVES: dict[str, Callable[[Any, Array, Array], Array]] = {
    "cross_entropy": log_loss,
    "binary_cross_entropy": binary_log_loss,
    "mean_squared_error": squared_error,
}
