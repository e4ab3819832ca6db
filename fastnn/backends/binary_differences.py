"""L(+h) − L(−h) of the binary cross-entropy, for :mod:`fastnn.backends.incremental`."""

from __future__ import annotations

from typing import Any

from ..functions import Activation
from ..validation import Array
from .evaluated import OUTPUT_BLOCK, Evaluated, Features, no_differences
from .loss_ratios import softplus_difference


def binary_cross_entropy(
    xp: Any, network: Evaluated, f: Activation, h: float, features: Features
) -> tuple[Array, Array]:
    """L(+h) − L(−h) of the binary cross-entropy, without the limits of the probabilities.

    Of an output with the logit a that is (1 − t)·log(1 + e^a) + t·log(1 + e^−a).
    """
    x, t, a, z, logits, _, W2 = network
    hidden, output = no_differences(xp, network)
    samples, outputs = t.shape[0], t.shape[1]
    sides = [(weight / samples, side) for weight, side in ((1 - t, 1), (t, -1))]
    for n in range(samples):
        some = features(x[n, ...])
        u = h * x[n, some, None]
        up, down = f.change(xp, a[n, ...], u), f.change(xp, a[n, ...], -u)
        for k in range(outputs):
            for weights, side in sides:
                if (weight := float(weights[n, k])) != 0:
                    v = side * W2[:, k]
                    hidden[some, :] += weight * _moved(
                        xp, side * logits[n, k], up * v, down * v, (up - down) * v
                    )
    at_a_time = max(1, OUTPUT_BLOCK // (output.shape[0] * outputs))
    for weights, side in sides:
        for first in range(0, samples, at_a_time):
            block = slice(first, min(first + at_a_time, samples))
            step = side * h * z[block, :, None]
            moved = _moved(xp, side * logits[block, None, :], step, -step, 2 * step)
            output += xp.sum(weights[block, None, :] * moved, axis=0)
    return hidden, output


def _moved(xp: Any, logits: Array, up: Array, down: Array, between: Array) -> Array:
    """What log(1 + e^a) is at logits + up more than at logits + down; `between` is up − down."""
    low, high = logits + xp.minimum(up, down), logits + xp.maximum(up, down)
    return xp.copysign(softplus_difference(xp, low, high, abs(between)), between)
