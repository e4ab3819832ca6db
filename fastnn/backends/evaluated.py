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
    batch: int  # the losses are means over so many samples, of which these may be some

    def some(self, xp: Any, rows: Array) -> Evaluated:
        """The same of some of the samples."""
        chosen = {name: xp.take(getattr(self, name), rows, axis=0) for name in _OF_SAMPLES}
        return self._replace(**chosen)

    def block(self, rows: slice) -> Evaluated:
        """The same of samples that follow one another."""
        return self._replace(**{name: getattr(self, name)[rows, ...] for name in _OF_SAMPLES})


_OF_SAMPLES = "x", "t", "a", "z", "logits", "y"


def no_differences(xp: Any, network: Evaluated) -> tuple[Array, Array]:
    """Zeros for L(+h) − L(−h) of all weights of the two layers, the last row being the biases."""
    x, a, z, y = network.x, network.a, network.z, network.y
    return xp.zeros_like(x[0, :, None] * a[0, None, :]), xp.zeros_like(
        z[0, :, None] * y[0, None, :]
    )
