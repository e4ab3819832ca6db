"""The unperturbed network, which the numerical gradient starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..validation import Array

#: How many perturbed losses of the output layer are evaluated at a time: they stay in a cache.
OUTPUT_BLOCK = 8192

#: What to index a row of samples and the rows of a result with, to leave out features that are
#: zero.
Features = Callable[[Array], Any]


class Evaluated(NamedTuple):
    """The unperturbed network in float64.

    The last column of `x` and `z` is 1: a bias is the weight of one more input.
    """

    x: Array  # (samples, features + 1)
    t: Array  # (samples, outputs)
    a: Array  # (samples, units)
    z: Array  # (samples, units + 1)
    logits: Array  # (samples, outputs)
    y: Array  # (samples, outputs)
    W2: Array  # (units, outputs)


def no_differences(xp: Any, network: Evaluated) -> tuple[Array, Array]:
    """Zeros for L(+h) − L(−h) of all weights of the two layers, the last row being the biases."""
    x, a, z, y = network.x, network.a, network.z, network.y
    return xp.zeros_like(x[0, :, None] * a[0, None, :]), xp.zeros_like(
        z[0, :, None] * y[0, None, :]
    )
