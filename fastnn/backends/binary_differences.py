"""L(+h) − L(−h) of the binary cross-entropy, for :mod:`fastnn.backends.incremental`.

Of an output with the logit a it is (1 − t)·log(1 + e^a) + t·log(1 + e^−a), without the limits of
the probabilities.
"""

from __future__ import annotations

from typing import Any

from ..validation import Array
from .evaluated import OUTPUT_BLOCK, Evaluated, zeros_of
from .loss_ratios import softplus_difference


def hidden(xp: Any, network: Evaluated, n: int, W2: Array, up: Array, down: Array) -> Array:
    """Of a sample, output by output, for increments (features, units) of the units of W2."""
    result = xp.zeros_like(up)
    for weights, side in _sides(network):
        for k in range(weights.shape[1]):
            if (weight := float(weights[n, k])) != 0:
                v, logit = side * W2[:, k], side * network.logits[n, k]
                result += weight * _moved(xp, logit, up * v, down * v, (up - down) * v)
    return result


def output(xp: Any, network: Evaluated, h: float) -> Array:
    """The sum over the samples, for the weights into the outputs."""
    z, logits = network.z, network.logits
    result = zeros_of(xp, z, logits)
    at_a_time = max(1, OUTPUT_BLOCK // (result.shape[0] * result.shape[1]))
    for weights, side in _sides(network):
        for first in range(0, z.shape[0], at_a_time):
            block = slice(first, min(first + at_a_time, z.shape[0]))
            step = side * h * z[block, :, None]
            moved = _moved(xp, side * logits[block, None, :], step, -step, 2 * step)
            result += xp.sum(weights[block, None, :] * moved, axis=0)
    return result


def _sides(network: Evaluated) -> list[tuple[Array, int]]:
    """The weights of log(1 + e^(side·a)), and the sides."""
    return [((1 - network.t) / network.batch, 1), (network.t / network.batch, -1)]


def _moved(xp: Any, logits: Array, up: Array, down: Array, between: Array) -> Array:
    """What log(1 + e^a) is at logits + up more than at logits + down; `between` is up − down."""
    low, high = logits + xp.minimum(up, down), logits + xp.maximum(up, down)
    return xp.copysign(softplus_difference(xp, low, high, abs(between)), between)
