"""What scikit-learn's networks minimise: losses of samples, their weighted mean, and a penalty.

Of a batch with the weights wᵢ, each 1 where there are none, that is

    Σ wᵢ·lossᵢ / Σ wᵢ + alpha/2 · Σ W² / Σ wᵢ

with the sum Σ W² over the weights of both layers, not over the biases. The step goes against
wᵢ·(yᵢ − tᵢ) / Σ wᵢ at the logits, whichever loss it is, and alpha · W / Σ wᵢ. Of a squared error of
several outputs that is the derivative of their sum, and the loss is their mean.

Probabilities are limited to [ε, 1 − ε], ε of their dtype, where the book adds 1e-7.
"""

from __future__ import annotations

from typing import Any

from ..validation import Array
from .losses import LOSSES


def _clipped(xp: Any, y: Array) -> Array:
    guard = xp.finfo(y.dtype).eps
    return xp.clip(y, guard, 1 - guard)


def log_loss(xp: Any, y: Array, t: Array) -> Array:
    """−Σ t·log y of each sample."""
    return -xp.sum(t * xp.log(_clipped(xp, y)), axis=1)


def squared_error(xp: Any, y: Array, t: Array) -> Array:
    """½·(y − t)² of each sample, the mean over its outputs."""
    difference = y - t
    return xp.sum(difference * difference, axis=1) / (2 * y.shape[1])


#: The loss of each sample, (xp, y, t) → (samples,), by the loss of the network that has the outputs
#: y. Targets are rows.
OBJECTIVES: dict[str, Any] = {
    "cross_entropy": log_loss,
    "binary_cross_entropy": LOSSES["binary_cross_entropy"].of_samples,
    "mean_squared_error": squared_error,
}
